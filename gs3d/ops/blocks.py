"""Processing of arrays in blocks of a few thousand rows.

Intermediate results of a block stay in the cache, and need no memory of the size of the whole
array.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ROWS = 4096
"""Rows per block. File formats rely on a multiple of 256."""
BYTES = 2**20
"""Bytes that `holds` compares at a time."""


def blocks(count: int) -> Iterator[slice]:
    """Consecutive slices that cover the rows 0 to `count`, each of at most ROWS rows."""
    return (slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS))


def holds(path: Path, start: int, arrays: Sequence[np.ndarray]) -> bool:
    """Whether a file holds exactly these contiguous arrays from byte `start` to its end.

    OSErrors are not converted.
    """
    with open(path, "rb") as stream:
        stream.seek(start)
        for array in arrays:
            expected = array.reshape(-1).view(np.uint8)
            for first in range(0, len(expected), BYTES):
                piece = expected[first : first + BYTES]
                if not np.array_equal(np.frombuffer(stream.read(len(piece)), np.uint8), piece):
                    return False
        return not stream.read(1)
