"""Writing a file so that a reader finds the old one or the whole new one, never a part; and OSErrors turned into one clear line."""

import contextlib
import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from gs3d.core.errors import UserError

_WRITE_REASONS = {
    errno.ENOSPC: "the disk is full. Free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up. Free some space or choose another folder",
    errno.EFBIG: "the file is larger than this disk or your limits allow. Choose another folder, or raise the limit (ulimit -f)",
    errno.EROFS: "the folder {folder} is on a read-only disk. Choose another folder",
    errno.EACCES: "the folder {folder} is read-only for you. Change its permissions or choose another folder",
    errno.EPERM: "the folder {folder} is read-only for you. Change its permissions or choose another folder",
    errno.ENOENT: "the folder {folder} does not exist. Create it, or correct the path",
    errno.ENOTDIR: "{folder} is not a folder. Correct the path",
    errno.EISDIR: "it is a folder. Give the name of a file",
    errno.ENAMETOOLONG: "the name is too long for this disk. Choose a shorter one",
    errno.EIO: "the disk reports a fault. Choose another disk",
}

_READ_REASONS = {
    errno.ENOENT: "there is no such file. Check the path",
    errno.ENOTDIR: "there is no such file. Check the path",
    errno.EISDIR: "it is a folder. Give the name of a file",
    errno.EACCES: "you may not read it. Change its permissions",
    errno.EPERM: "you may not read it. Change its permissions",
    errno.ENAMETOOLONG: "the name is too long for this disk. Check the path",
    errno.EIO: "the disk reports a fault. Take another copy of the file",
}


def write_error(path: Path, error: OSError) -> UserError:
    """What to tell the user when `path` could not be written."""
    reason = _WRITE_REASONS.get(
        error.errno, f"{error.strerror or error}. Choose another folder or file name"
    )
    return UserError(
        f"cannot write {path}: {reason.format(folder=path.parent)}. Nothing was changed."
    )


def read_error(path: Path, error: OSError) -> UserError:
    """What to tell the user when `path` could not be read."""
    reason = _READ_REASONS.get(error.errno, f"{error.strerror or error}. Check the file")
    return UserError(f"cannot read {path}: {reason}.")


def _refuse_target(path: Path, target: Path) -> None:
    """Raise unless `target` is absent or a file that may be replaced. Messages name `path`, as the user gave it."""
    # A rename needs no permission on the file it replaces, so a write-protected file is looked for here. A rename would also put
    # an ordinary file in the place of a device or a pipe such as /dev/full.
    if target.is_dir():
        raise write_error(path, IsADirectoryError(errno.EISDIR, ""))
    if target.exists() and not target.is_file():
        raise UserError(
            f"cannot write {path}: it is a device or a pipe, expected an ordinary file. Give another name."
        )
    if target.exists() and not os.access(target, os.W_OK):
        raise UserError(
            f"cannot write {path}: the file is write-protected. Change its permissions or give another name."
        )


def check_target(path: str | Path) -> None:
    """What would keep `write_atomic` from writing there is told now, before the work is done."""
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))
        _refuse_target(path, target)
        if not target.parent.is_dir():
            raise (
                NotADirectoryError(errno.ENOTDIR, "")
                if target.parent.exists()
                else FileNotFoundError(errno.ENOENT, "")
            )
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "")
    except OSError as error:  # also of a name that is too long to be looked up
        raise write_error(path, error) from error


def _sync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(
    path: str | Path, write: Callable[[Path], None], verify: Callable[[Path], None]
) -> None:
    """Make `path` by `write(temp)`, fsync, `verify(temp)` and a rename inside one folder.

    If anything fails, also by Ctrl-C, the temporary file is removed and what was at `path` before is still there.
    An OSError leaves as a UserError that says why and what to do. A symbolic link is followed, not replaced.
    """
    path = Path(path)
    temp = None
    try:
        target = Path(os.path.realpath(path))
        _refuse_target(path, target)
        temp = target.with_name(f".{target.name[:32]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        os.close(os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        write(temp)
        _sync(temp, os.O_RDWR)
        verify(temp)
        os.replace(temp, target)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temp is not None:
            with contextlib.suppress(OSError):
                temp.unlink(missing_ok=True)
    # The rename itself is durable once the folder is on disk. Not every system lets a folder be synced, and the file is whole either way.
    with contextlib.suppress(OSError):
        _sync(target.parent, os.O_RDONLY)
