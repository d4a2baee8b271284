"""A few thousand rows at a time: what is computed of them stays in the cache, and needs no memory of the size of the whole."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROWS = 4096
"""Of a block; formats count on a multiple of 256."""
BYTES = 2**20


def blocks(count: int) -> Iterator[slice]:
    """Slices that together are the rows 0 to `count`."""
    return (slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS))


def holds(path: Path, start: int, arrays: Sequence[np.ndarray]) -> bool:
    """Whether the file at `path` is, from byte `start` to its end, just these contiguous arrays. OSError passes through."""
    with open(path, "rb") as stream:
        stream.seek(start)
        for array in arrays:
            wanted = array.reshape(-1).view(np.uint8)
            for first in range(0, len(wanted), BYTES):
                piece = wanted[first : first + BYTES]
                if not np.array_equal(np.frombuffer(stream.read(len(piece)), np.uint8), piece):
                    return False
        return not stream.read(1)
