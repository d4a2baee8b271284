"""The folder on this machine in which a row is made whose files go to a URL."""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from gs3d.batch.remote.folder import Remote, why
from gs3d.batch.remote.upload import RECORD, newest_step
from gs3d.core.errors import UserError


def work_folder(place: Remote, settings: str) -> Path:
    """The folder for a row that goes to `place` with these settings: the same one in the next
    process, so that what an earlier one had to leave there is not lost. It need not be there.

    Raises:
        UserError: The system's temporary folder cannot be used.
    """
    user = os.getuid() if hasattr(os, "getuid") else 0
    base = Path(tempfile.gettempdir()) / f"gs3d-rows-{user}"
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        found = base.lstat()
    except OSError as error:
        raise UserError(f"{base}: cannot be written ({error.strerror}); set TMPDIR") from None
    # Anyone may create folders in there, also one that waits for what others put into it.
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != user):
        raise UserError(f"{base}: belongs to another user; set TMPDIR to a folder of your own")
    digest = hashlib.sha256(f"{place.url}\n{settings}".encode("utf-8", "replace")).hexdigest()
    return base / digest[:16] / place.url.rpartition("/")[2]


def fetch(place: Remote, folder: Path, alive: Callable[[], None] = lambda: None) -> None:
    """Copy a row from its place, unless the folder already holds as much of it. `alive` is called
    before each file.

    Raises:
        UserError: It cannot be read.
    """
    try:
        there = place.files()
        here = [f.relative_to(folder).as_posix() for f in folder.rglob("*") if folder.is_dir()]
        if RECORD not in there or (RECORD in here and newest_step(here) >= newest_step(there)):
            return
        remove(folder)
        for name in (*(name for name in there if name != RECORD), RECORD):
            alive()
            place.get(name, folder / name)
    except Exception as error:
        raise UserError(f"{place.url}: cannot be read ({why(error)})") from None


def remove(folder: Path) -> None:
    """Delete the folder of a row, and that of its batch if nothing else is in there."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.parent.rmdir()
    except OSError:
        return
