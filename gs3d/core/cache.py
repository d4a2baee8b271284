"""Where gs3d keeps what it may make again: compiled kernels, downloaded weights."""

import os
import sys
from pathlib import Path


def cache_dir(*parts: str) -> Path:
    """`$GS3D_CACHE`, else the user's cache folder for this platform, joined with `parts`. Made if it is not there."""
    if root := os.environ.get("GS3D_CACHE"):
        base = Path(root)
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches" / "gs3d"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gs3d"
    path = base.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
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
