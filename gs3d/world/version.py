"""Version of the world: datasets and scores of different versions must not be mixed."""

import hashlib
from functools import cache
from pathlib import Path

from gs3d.core.source import code_of

SOURCES = (
    "tracer/kernels.py",
    "tracer/cpu.py",
    "tracer/cuda.py",
    "colors.py",
    "parts.py",
    "render.py",
    "sample.py",
    "kinds/*.py",
    "../core/normals.py",
)
"""Files that determine how objects look, relative to this folder."""

PLACES = (*SOURCES, "places/*.py", "../core/views/inside.py")
"""The same for places, whose objects are those of the world."""


@cache
def source_digest(sources: tuple[str, ...] = SOURCES) -> str:
    """Hash of the code in `sources`, patterns of files: 12 hexadecimal digits."""
    here = Path(__file__).parent
    paths = [path for pattern in sources for path in sorted(here.glob(pattern))]
    code = "\0".join(code_of(path.read_text("utf-8")) for path in paths)
    return hashlib.sha256(code.encode()).hexdigest()[:12]
