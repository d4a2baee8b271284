"""A lock on an output directory: two runs must not write into one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from gs3d.core.errors import UserError


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process. `UserError` if another process holds it, or nothing can be
    written there.

    The system releases the lock when the process ends, however it ends. A file system without
    locks is not protected.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = folder / ".gs3d-running"
    while True:
        with _opened(folder, path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"--out {folder}: another run is writing there; wait for it, "
                    "or choose another folder with --out"
                ) from None
            except OSError:
                pass  # a file system without locks
            # A run that ended after the file was opened here has deleted it, and a third one could
            # create and lock another.
            if not _is_at(path, file):
                continue
            try:
                yield
            finally:
                with contextlib.suppress(OSError):  # the disk may be read-only by now
                    path.unlink(missing_ok=True)
            return


def _opened(folder: Path, path: Path) -> TextIO:
    try:
        return open(path, "w")
    except OSError as error:
        raise UserError(
            f"--out {folder}: cannot be written ({error.strerror}); "
            "choose another folder or free some space"
        ) from None


def _is_at(path: Path, file: TextIO) -> bool:
    """Whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
