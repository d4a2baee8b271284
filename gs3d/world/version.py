"""Which world made a picture: pools and marks of another one are not to be mixed with this one's."""

import hashlib
from functools import cache
from pathlib import Path

DECIDE = (
    "tracer/kernels.py",
    "tracer/cuda.py",
    "colors.py",
    "parts.py",
    "render.py",
    "sample.py",
    "kinds/*.py",
    "../core/normals.py",
)


@cache
def source_digest() -> str:
    """Of the files that decide what an object looks like."""
    here = Path(__file__).parent
    sources = [path.read_bytes() for pattern in DECIDE for path in sorted(here.glob(pattern))]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()[:12]
