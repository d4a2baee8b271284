"""Output directories: their names, which one a run gets, and whether it can be written."""

import contextlib
import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.io import MESH, PLOT, SPLATS
from gs3d.io.atomic import remove_unfinished
from gs3d.io.plain_yaml import load_yaml
from gs3d.runs.starts.builtin import FOLDER

LONGEST, LONGEST_BYTES = 60, 180
"""Of the name of a folder, without its numbers: characters, and bytes on disk."""
DEVICES = ("con", "prn", "aux", "nul", *(d + n for d in ("com", "lpt") for n in "0123456789¹²³"))
"""Names that stand for a device on Windows, in any folder."""
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
RESULTS = re.compile(r"(splats|mesh|stage-\d+|preview|turntable|progress|candidates-\d+|log)\.\w+")
"""Files that are written under a temporary name first."""


def slug(prompt: str) -> str:
    """A directory name from a prompt: lower-case letters and digits of any script, and hyphens.

    It has at most 60 characters and 180 bytes. Digits of a hash stand for what was cut off, for a
    prompt without letters and digits, for a name of `DEVICES`, and where the file system takes no
    other letters.
    """
    text = unicodedata.normalize("NFC", prompt.lower())
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
    name = "-".join(kept.split())
    try:
        fits = len(name) <= LONGEST and len(os.fsencode(name)) <= LONGEST_BYTES
        if name and fits and name not in DEVICES:
            return name
    except UnicodeEncodeError:
        name = "".join(c for c in name if c.isascii()).strip("-")
    name = name[: LONGEST - 7]
    while len(name.encode("utf-8", "replace")) > LONGEST_BYTES - 7:
        name = name[:-1]
    digits = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return f"{name.strip('-') or 'prompt'}-{digits}"


def default_folder(prompt: str, seed: int) -> Path:
    """The output directory of the first run of a prompt and seed."""
    return Path("outputs") / f"{slug(prompt)}-s{seed}"


def pick_folder(prompt: str, seed: int, out: Path | None, resume: bool) -> Path:
    """The output directory of a run. Never one that holds another run, except to resume it.

    Without `out`, runs of one prompt and seed are numbered -2, -3, …, and `resume` takes the
    newest of this prompt.
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
    # Prompts that differ in punctuation alone share their folders.
    own = [folder for folder in taken if resume and _prompt_in(folder) in (prompt, None)]
    return own[-1] if own else free


def _prompt_in(folder: Path) -> str | None:
    """The prompt of the run in `folder`; None if that cannot be told."""
    record = run_yaml(folder)
    return None if record is None or "prompt" not in record else str(record["prompt"])


def run_yaml(folder: Path) -> dict[str, Any] | None:
    """What run.yaml in `folder` holds; None if it is not there, or damaged."""
    try:
        return parsed_record((folder / "run.yaml").read_bytes())
    except OSError:
        return None


def parsed_record(content: bytes) -> dict[str, Any] | None:
    """What the `content` of a run.yaml holds; None if it is damaged."""
    try:
        # Its time counts where there are thousands.
        found = load_yaml(content.decode("utf-8"), fast=True)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def particle_folder(folder: Path, index: int) -> Path:
    """Where the results of the particle at `index` of a run in `folder` are; the first has those
    of the run."""
    return folder / f"particle-{index + 1}" if index else folder


def next_folder(base: Path) -> Path:
    """The first of base, base-2, base-3, … that no run has used."""
    return _numbered(base)[1]


def _used(folder: Path) -> list[str]:
    return [name for name in OUTPUTS if (folder / name).exists()]


def _numbered(base: Path) -> tuple[list[Path], Path]:
    """Of base, base-2, base-3, …: those that runs have used, and the one after them."""
    numbers = {base: 1}
    for folder in base.parent.glob("*") if base.parent.is_dir() else ():
        if match := re.fullmatch(re.escape(base.name) + r"-(\d{1,9})", folder.name):
            numbers[folder] = int(match[1])
    taken = sorted((f for f in numbers if _used(f)), key=lambda f: numbers[f])
    free = base.with_name(f"{base.name}-{numbers[taken[-1]] + 1}") if taken else base
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
        # On a read-only disk even a file that is not there cannot be deleted.
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def clean_up(folder: Path) -> None:
    """Delete what a run that was killed left half-written in its folder, which this process holds
    (`lock.locked`). Files of other commands, which may be at work, stay."""
    # Not in every folder there: with --out outputs, these are other runs.
    for place in (folder, folder / FOLDER, *folder.glob("particle-*")):
        remove_unfinished(place, RESULTS)
    for path in (folder / "checkpoint").glob("step_*.tmp"):
        path.unlink(missing_ok=True)


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
