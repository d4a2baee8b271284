"""What a user asks for, checked before anything slow begins, and the folder it goes to."""

import contextlib
import math
import numbers
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gs3d.core.errors import UserError
from gs3d.io import MESH, PLOT, SPLATS

DEFAULT_MINUTES = 3.0
Mode = Literal["splats", "mesh", "two-stage"]
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
"""What a run leaves in its folder."""


@dataclass(frozen=True)
class Request:
    """One run."""

    prompt: str
    minutes: float | None = None
    """Wall clock from process start to files on disk; 3 when neither this nor `steps` is given."""
    steps: int | None = None
    """Iterations instead of minutes: reproducible."""
    prior: str = "auto"
    loss: str | None = None
    """A name of `guidance.GUIDANCE`; None takes the preset's."""
    seed: int = 0
    out: Path | None = None
    """Folder of the results; None makes outputs/<slug>-s<seed>."""
    resume: bool = False
    config: str | Path | None = None
    """A preset's name or a YAML file; None picks the preset that fits prior and minutes."""
    device: str | None = None
    """cuda, cpu, or None for what there is."""
    mode: Mode = "splats"
    """Which preset to take when `config` names none: splats; splats and then a surface that begins as they are; or the paper's field and
    then surface. The last two make a mesh."""
    start: Path | None = None
    """A run's folder or a splat file to take the splats from that the surface begins as, instead of making them first."""


def slug(prompt: str) -> str:
    """A folder name from a prompt: at most 60 characters of [a-z0-9-]."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:60].strip("-") or "prompt"


def check_budget(minutes: float | None, steps: int | None) -> None:
    if minutes is not None and steps is not None:
        raise UserError("give --minutes or --steps, not both")
    if minutes is not None and not (
        isinstance(minutes, numbers.Real) and math.isfinite(minutes) and minutes > 0
    ):
        raise UserError(f"--minutes: expected a number above 0, got {minutes!r}")
    if steps is not None and not (isinstance(steps, numbers.Integral) and steps >= 1):
        raise UserError(f"--steps: expected a whole number, 1 or more, got {steps!r}")


def _used(folder: Path) -> list[str]:
    return [name for name in OUTPUTS if (folder / name).exists()]


def default_folder(request: Request) -> Path:
    """Where the first run of a prompt and seed goes that names no folder."""
    return Path("outputs") / f"{slug(request.prompt)}-s{request.seed}"


def pick_folder(request: Request) -> Path:
    """Where a run goes. Nothing that is there already is overwritten, unless it is the run that `resume` continues.

    Without `out`, runs of one prompt and seed are numbered -2, -3, …, and `resume` continues the newest.
    """
    base = request.out or default_folder(request)
    if base.exists() and not base.is_dir():
        raise UserError(f"--out {base}: is a file; expected a folder, choose another")
    if request.out:
        if not request.resume and (used := _used(base)):
            raise UserError(
                f"--out {base}: already holds {used[0]}; add --resume to continue that run, or choose another folder"
            )
        return base
    taken, free = _numbered(base)
    return taken[-1] if request.resume and taken else free


def next_folder(base: Path) -> Path:
    """The first of base, base-2, base-3, … that no run has used."""
    return _numbered(base)[1]


def _numbered(base: Path) -> tuple[list[Path], Path]:
    """Of base, base-2, base-3, …: those that runs have used, and the first that none has."""
    taken, free = [], base
    while _used(free):
        taken.append(free)
        free = base.with_name(f"{base.name}-{len(taken) + 1}")
    return taken, free


def make_writable(folder: Path) -> None:
    """Make the folder and see that something can be written to it, before an hour goes into what should end there."""
    probe = folder / ".gs3d-write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"0" * 4096)
    except OSError as error:
        raise UserError(
            f"--out {folder}: cannot be written ({error.strerror}); choose another folder or free some space"
        ) from None
    finally:
        if folder.is_dir():
            probe.unlink(missing_ok=True)


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """`make_writable`; a folder that was not there before and is empty does not outlive a `UserError`."""
    new = not folder.exists()
    try:
        make_writable(folder)
        yield
    except UserError:
        if new:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
        raise
