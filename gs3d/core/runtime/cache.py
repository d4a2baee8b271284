"""The cache folder, for files that can be recreated: compiled kernels, downloaded weights."""

import contextlib
import errno
import os
import stat
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from gs3d.core.errors import UserError


def cache_dir(*parts: str) -> Path:
    """Path of the cache folder joined with `parts`; the folder is created if it does not exist.

    The cache folder is `$GS3D_CACHE`, or else the user's cache folder on this platform. If the user
    has no home folder or cannot write to it, a folder inside the system's temporary folder is used.

    Raises:
        UserError: `$GS3D_CACHE` is not writable; or it is not set, and neither the home folder nor
            the temporary folder is usable.
    """
    if root := os.environ.get("GS3D_CACHE"):
        try:
            return _usable(Path(root).joinpath(*parts))
        except OSError as error:
            raise UserError(
                f"GS3D_CACHE={root}: cannot be written ({error.strerror}); "
                "set it to a writable folder"
            ) from None
    # pathlib raises RuntimeError if it finds no home folder.
    with contextlib.suppress(OSError, RuntimeError):
        return _usable(_home_cache().joinpath(*parts))
    try:
        return _usable(_temporary_cache().joinpath(*parts))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            "cache folder: neither the home folder nor the temporary folder is usable "
            f"({reason}); set GS3D_CACHE to a writable folder"
        ) from None


def _home_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gs3d"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gs3d"


def _temporary_cache() -> Path:
    """Folder gs3d-<uid> in the system's temporary folder, accessible to this user only.

    gs3d loads compiled kernels from it, and every user can create entries in the temporary folder.
    A folder that another user created or can write to therefore raises OSError.
    """
    uid = os.getuid() if hasattr(os, "getuid") else "user"
    path = Path(tempfile.gettempdir()) / f"gs3d-{uid}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if hasattr(os, "getuid") and (
        found.st_uid != uid or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022
    ):
        raise OSError(f"{path} belongs to another user, or other users can write to it")
    return path


def _usable(path: Path) -> Path:
    """Create the folder `path` if needed and return it. Raises OSError if it is not writable."""
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return path


def import_numba() -> ModuleType:
    """Import numba; it caches compiled kernels in `cache_dir("numba")`.

    A NUMBA_CACHE_DIR set by the user takes precedence. numba's default, the folder of the installed
    package, may be read-only, and then every process would compile again. The variable is set here
    and not in `import gs3d`, because numba reads it on import, and importing numba takes half a
    second.
    """
    if "numba" not in sys.modules and "NUMBA_CACHE_DIR" not in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = str(cache_dir("numba"))
    import numba

    return numba
