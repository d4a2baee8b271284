"""Atomic file writes, and one-line error messages for OSErrors.

At every moment a reader finds either the old file or the complete new one.
"""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from gs3d.core.errors import UserError

_TEMPORARY = re.compile(r"\.(.+)\.\d+-[0-9a-f]{8}\.tmp")
_WRITE_REASONS: dict[int | None, str] = {
    errno.ENOSPC: "the disk is full. Free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up. Free some space or choose another folder",
    errno.EFBIG: "the file is larger than this disk or your limits allow. "
    "Choose another folder, or raise the limit (ulimit -f)",
    errno.EROFS: "the folder {folder} is on a read-only disk. Choose another folder",
    errno.EACCES: "you have no write permission for the folder {folder}. "
    "Change its permissions or choose another folder",
    errno.EPERM: "you have no write permission for the folder {folder}. "
    "Change its permissions or choose another folder",
    errno.ENOENT: "the folder {folder} does not exist. Create it, or correct the path",
    errno.ENOTDIR: "{folder} is not a folder. Correct the path",
    errno.EISDIR: "it is a folder. Give a file name",
    errno.ENAMETOOLONG: "the name is too long for this disk. Choose a shorter one",
    errno.EIO: "the disk reports an I/O error. Choose another disk",
}

_READ_REASONS: dict[int | None, str] = {
    errno.ENOENT: "there is no such file. Check the path",
    errno.ENOTDIR: "there is no such file. Check the path",
    errno.EISDIR: "it is a folder. Give a file name",
    errno.EACCES: "you have no read permission. Change the permissions of the file",
    errno.EPERM: "you have no read permission. Change the permissions of the file",
    errno.ENAMETOOLONG: "the name is too long for this disk. Check the path",
    errno.EIO: "the disk reports an I/O error. Take another copy of the file",
}


def write_error(path: Path, error: OSError) -> UserError:
    """The UserError for a failed write of `path`: the reason, and what to do."""
    reason = _WRITE_REASONS.get(
        error.errno, f"{error.strerror or error}. Choose another folder or file name"
    )
    return UserError(
        f"cannot write {path}: {reason.format(folder=path.parent)}. Nothing was changed."
    )


def read_error(path: Path, error: OSError) -> UserError:
    """The UserError for a failed read of `path`: the reason, and what to do."""
    reason = _READ_REASONS.get(error.errno, f"{error.strerror or error}. Check the file")
    return UserError(f"cannot read {path}: {reason}.")


def _check_replaceable(path: Path, target: Path) -> None:
    """Raise unless `target` is absent or is a file that may be replaced.

    `target` is `path` with links resolved. Messages name `path`, as the user gave it.
    """
    # A rename needs no permission on the file it replaces, so write protection is checked here.
    # A rename would also replace a device or a pipe such as /dev/full by an ordinary file.
    if target.is_dir():
        raise write_error(path, IsADirectoryError(errno.EISDIR, ""))
    if target.exists() and not target.is_file():
        raise UserError(
            f"cannot write {path}: it is a device or a pipe, expected an ordinary file. "
            "Give another name."
        )
    if target.exists() and not os.access(target, os.W_OK):
        raise UserError(
            f"cannot write {path}: the file is write-protected. "
            "Change its permissions or give another name."
        )


def check_target(path: str | Path) -> None:
    """Raise UserError if `write_atomic` could not write `path`. Call this before long work."""
    path = Path(path)
    try:
        target = Path(os.path.realpath(path))
        _check_replaceable(path, target)
        if not target.parent.is_dir():
            raise (
                NotADirectoryError(errno.ENOTDIR, "")
                if target.parent.exists()
                else FileNotFoundError(errno.ENOENT, "")
            )
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(errno.EACCES, "")
    # The lookup itself also fails if the name is too long.
    except OSError as error:
        raise write_error(path, error) from error


def _fsync(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_unfinished(folder: Path, names: re.Pattern[str]) -> None:
    """Delete the temporary files that `write_atomic` left in `folder` where its process was killed.

    Only those for files whose whole name matches `names`: nobody else may be writing these.
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            match = _TEMPORARY.fullmatch(path.name)
            if match and names.fullmatch(match[1]):
                path.unlink(missing_ok=True)


def write_atomic(
    path: str | Path, write: Callable[[Path], object], verify: Callable[[Path], None]
) -> None:
    """Create or replace `path`: `write(temp)`, fsync, `verify(temp)`, then rename `temp`.

    `temp` is in the folder of `path`. On any failure, including Ctrl-C, the temporary file is
    removed and an existing file at `path` is unchanged. An OSError becomes a UserError that gives
    the reason and what to do. A symbolic link is followed, not replaced.
    """
    path = Path(path)
    temp = None
    try:
        target = Path(os.path.realpath(path))
        _check_replaceable(path, target)
        temp = target.with_name(f".{target.name[:32]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        os.close(os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        write(temp)
        _fsync(temp, os.O_RDWR)
        verify(temp)
        os.replace(temp, target)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temp is not None:
            with contextlib.suppress(OSError):
                temp.unlink(missing_ok=True)
    # Syncing the folder makes the rename durable. Some systems do not support it; the file is
    # complete either way.
    with contextlib.suppress(OSError):
        _fsync(target.parent, os.O_RDONLY)
