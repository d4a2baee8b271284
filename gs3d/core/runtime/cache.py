"""Where gs3d keeps what it may make again: compiled kernels, downloaded weights."""

import errno
import os
import stat
import sys
import tempfile
from pathlib import Path

from gs3d.core.errors import UserError


def cache_dir(*parts: str) -> Path:
    """`$GS3D_CACHE`, else the user's cache folder for this platform, joined with `parts`. Made if it is not there.

    Where the user has no home or may not write to it, a folder in the system's temporary folder takes its place.

    Raises:
        UserError: `$GS3D_CACHE` cannot be used; or it is not set, and neither can the other two.
    """
    if root := os.environ.get("GS3D_CACHE"):
        try:
            return _usable(Path(root).joinpath(*parts))
        except OSError as error:
            raise UserError(
                f"GS3D_CACHE={root}: cannot be written ({error.strerror}); set it to a folder that can"
            ) from None
    try:
        return _usable(_home_cache().joinpath(*parts))
    except (OSError, RuntimeError):  # RuntimeError: pathlib found no home
        pass
    try:
        return _usable(_temporary_cache().joinpath(*parts))
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(
            f"no folder for the cache, neither at home nor for temporary files ({why}); set GS3D_CACHE to one"
        ) from None


def _home_cache() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "gs3d"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gs3d"


def _temporary_cache() -> Path:
    """gs3d-<uid> in the temporary folder, made for this user alone.

    Compiled kernels are loaded from it and everybody may write beside it, so a folder that somebody else laid there is refused.
    """
    uid = os.getuid() if hasattr(os, "getuid") else "user"
    path = Path(tempfile.gettempdir()) / f"gs3d-{uid}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if hasattr(os, "getuid") and (
        found.st_uid != uid or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o022
    ):
        raise OSError(f"{path} is not this user's own")
    return path


def _usable(path: Path) -> Path:
    """`path` as a folder that can be written. Raises OSError."""
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return path


def import_numba():
    """numba, with compiled kernels kept under `cache_dir("numba")` unless the user set NUMBA_CACHE_DIR.

    An installed package's own folder may be read-only, and numba would then compile anew in every process. The folder is set
    here, not on `import gs3d`, because numba takes half a second to import and only reads the setting then.
    """
    if "numba" not in sys.modules and "NUMBA_CACHE_DIR" not in os.environ:
        os.environ["NUMBA_CACHE_DIR"] = str(cache_dir("numba"))
    import numba

    return numba
