"""Files that commands are given: which file is meant, what reading it warned of, and whether another may be written."""

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gs3d.cli.output import say
from gs3d.core.errors import UserError
from gs3d.io import SPLATS, WRITERS
from gs3d.io.atomic import check_target

T = TypeVar("T")


def splats_file(source: Path) -> Path:
    """The splat file itself, of a run's folder its splats."""
    if not os.path.isdir(
        source
    ):  # unlike Path.is_dir, also where the name is too long to be looked up
        return source
    if not (source / SPLATS).is_file() and (source / "stage-1.ply").is_file():
        raise UserError(
            f"{source}: is a run that has made a mesh; the splats that it began as are {source / 'stage-1.ply'}"
        )
    if not (source / SPLATS).is_file():
        raise UserError(
            f"{source}: expected a splat file, or the folder of a run that has made {SPLATS}; it is not in this one"
        )
    return source / SPLATS


def recorded(use: Callable[[Path], T], file: Path) -> tuple[T, list[str]]:
    """What `use` makes of `file`, and the warnings that it gave, each of them one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        made = use(file)
    return made, [
        " ".join(str(entry.message).split())
        for entry in caught
        if issubclass(entry.category, UserWarning)
    ]


def rows_left_out(lines: list[str]) -> int:
    """How many rows a reader left out, by its warnings."""
    found = (re.search(r"(\d+) of \d+ rows .* left out", line) for line in lines)
    return sum(int(match[1]) for match in found if match)


def warn(lines: list[str]) -> None:
    for line in lines:
        say(f"warning: {line}")


def check_out(out: Path, file: Path) -> str:
    """The suffix that `out` is written by. UserError unless it is one of WRITERS, its folder is there, and it is not `file` itself."""
    known = [suffix for suffix in WRITERS if out.name.lower().endswith(suffix)]
    if not known:
        raise UserError(
            f"cannot write {out}: expected a name ending in one of {', '.join(sorted(WRITERS))}"
        )
    check_target(out)
    if os.path.realpath(out) == os.path.realpath(file) or (
        out.exists() and os.path.exists(file) and out.samefile(file)
    ):
        raise UserError(f"cannot write {out}: it is the file that is read; give another name")
    return max(known, key=len)


def bytes_text(count: int) -> str:
    """A size as people write it: 950 B, 12.3 kB, 4.5 MB."""
    return (
        f"{count} B"
        if count < 1000
        else f"{count / 1e3:.1f} kB"
        if count < 1e6
        else f"{count / 1e6:.1f} MB"
    )
