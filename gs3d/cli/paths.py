"""Files that commands read and write: which file is meant, and warnings about it."""

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gs3d.cli.output import say
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import (
    FORMATS,
    SOG_FOLDER,
    SPLATS,
    ClippedValues,
    DroppedRows,
    load_splats,
    readable,
    save_splats,
    suffix_of,
)
from gs3d.io.atomic import check_target, read_error

T = TypeVar("T")


def splats_file(source: Path) -> Path:
    """The splat file itself, or that in the folder of a run or of a .sog that is not packed.

    `UserError` if there is none.
    """
    try:
        os.stat(source)
    except OSError as error:
        raise read_error(source, error) from None
    except ValueError as error:  # a null byte
        raise UserError(f"{str(source)!r}: {error}") from None
    # os.path.isdir, unlike Path.is_dir, also accepts names that are too long to be looked up.
    if not os.path.isdir(source):
        return source
    if not (source / SPLATS).is_file() and (source / SOG_FOLDER).is_file():
        return source / SOG_FOLDER
    first_stage = source / "stage-1.ply"
    if not (source / SPLATS).is_file() and first_stage.is_file():
        raise UserError(
            f"{source}: is a run that has made a mesh; the splats that it began as are "
            f"{first_stage}"
        )
    if not (source / SPLATS).is_file():
        raise UserError(
            f"{source}: expected a splat file, or the folder of a run that has made {SPLATS}; "
            "it is not in this one"
        )
    return source / SPLATS


def with_warnings(use: Callable[[Path], T], file: Path) -> tuple[T, list[Warning]]:
    """`use(file)`, and the warnings that it raised."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        result = use(file)
    found = [entry.message for entry in caught if isinstance(entry.message, UserWarning)]
    return result, list(found)


def saved(
    out: Path, suffix: str, splats: Splats, **options: Any
) -> tuple[Splats, list[Warning | str]]:
    """Write `splats` in the format of `suffix`, and read them back where that is possible.

    Returns what the file holds, and warnings about what it does not keep.
    """
    from gs3d.ops.stats import losses

    _, found = with_warnings(lambda path: save_splats(path, splats, **options), out)
    if suffix not in readable():
        return splats, [*found]
    kept, _ = with_warnings(load_splats, out)
    said = {warning.what for warning in found if isinstance(warning, ClippedValues)}
    lost = losses(splats, kept, known=said)
    return kept, [*found, *(f"{out} does not keep {what}" for what in lost)]


def dropped_rows(found: Sequence[Warning]) -> int:
    """How many rows a reader dropped."""
    return sum(warning.dropped for warning in found if isinstance(warning, DroppedRows))


def one_line(warning: Warning) -> str:
    return " ".join(str(warning).split())


def warn(found: Sequence[Warning | str]) -> None:
    """Print each warning as one line."""
    for warning in found:
        say(f"warning: {' '.join(str(warning).split())}")


def check_out(out: Path, file: Path) -> str:
    """The suffix of FORMATS that `out` is written by.

    Raises:
        UserError: An unknown suffix, a missing folder, or `out` is `file` itself.
    """
    suffix = suffix_of(out, FORMATS)
    if suffix is None:
        suffixes = ", ".join(sorted(FORMATS))
        raise UserError(f"cannot write {out}: expected a name ending in one of {suffixes}")
    check_target(out)
    both_exist = out.exists() and os.path.exists(file)
    same_path = os.path.realpath(out) == os.path.realpath(file)
    if same_path or (both_exist and out.samefile(file)):
        raise UserError(f"cannot write {out}: it is the file that is read; give another name")
    return suffix


def bytes_text(count: int) -> str:
    """A file size such as 950 B, 12.3 kB or 4.5 MB."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
