"""Output directories: their names, which one a run gets, and whether it can be written."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.io import MESH, PLOT, SPLATS

OUTPUTS = (
    SPLATS,
    MESH,
    "preview.png",
    "turntable.mp4",
    "run.yaml",
    "log.jsonl",
    "checkpoint",
    "progress.png",
    PLOT,
)
"""Files and folders that a run writes."""


def slug(prompt: str) -> str:
    """A directory name from a prompt: at most 60 characters of [a-z0-9-]."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-") or "prompt"


def default_folder(prompt: str, seed: int) -> Path:
    """The output directory of the first run of a prompt and seed."""
    return Path("outputs") / f"{slug(prompt)}-s{seed}"


def pick_folder(prompt: str, seed: int, out: Path | None, resume: bool) -> Path:
    """The output directory of a run. Never one that holds another run, except to resume it.

    Without `out`, runs of one prompt and seed are numbered -2, -3, …, and `resume` takes the
    newest.
    """
    base = out or default_folder(prompt, seed)
    if base.exists() and not base.is_dir():
        raise UserError(f"--out {base}: is a file; expected a folder, choose another")
    if out:
        if not resume and (used := _used(base)):
            raise UserError(
                f"--out {base}: already holds {used[0]}; add --resume to continue that run, "
                "or choose another folder"
            )
        return base
    taken, free = _numbered(base)
    return taken[-1] if resume and taken else free


def next_folder(base: Path) -> Path:
    """The first of base, base-2, base-3, … that no run has used."""
    return _numbered(base)[1]


def _used(folder: Path) -> list[str]:
    return [name for name in OUTPUTS if (folder / name).exists()]


def _numbered(base: Path) -> tuple[list[Path], Path]:
    """Of base, base-2, base-3, …: those that runs have used, and the first that is free."""
    taken, free = [], base
    while _used(free):
        taken.append(free)
        free = base.with_name(f"{base.name}-{len(taken) + 1}")
    return taken, free


def make_writable(folder: Path) -> None:
    """Create the folder and test that it can be written, before an hour of work depends on it."""
    probe = folder / ".gs3d-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"0" * 4096)
    except OSError as error:
        raise UserError(
            f"--out {folder}: cannot be written ({error.strerror}); "
            "choose another folder or free some space"
        ) from None
    finally:
        if folder.is_dir():
            probe.unlink(missing_ok=True)


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """`make_writable`, which removes a folder that it created if a `UserError` leaves it empty."""
    new = not folder.exists()
    try:
        make_writable(folder)
        yield
    except UserError:
        if new:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        raise
