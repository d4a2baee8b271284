"""Version of the world: datasets and scores of different versions must not be mixed."""

import hashlib
from functools import cache
from pathlib import Path

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


@cache
def source_digest() -> str:
    """Hash of the files in `SOURCES`: 12 hexadecimal digits."""
    here = Path(__file__).parent
    sources = [path.read_bytes() for pattern in SOURCES for path in sorted(here.glob(pattern))]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:12]
