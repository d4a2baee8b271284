"""One run a folder: two started at the same moment must not write into each other's files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gs3d.core.errors import UserError


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process, or raise `UserError` if another one holds it.

    The system lets go of the claim when the process ends, however it ends. Where it has no such locks, nothing is held.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    path = folder / ".gs3d-running"
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"--out {folder}: another run is writing there; wait for it, or choose another folder with --out"
            ) from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
