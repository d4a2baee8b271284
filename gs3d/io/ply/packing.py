"""Quantization of a compressed .ply, and the Morton order that keeps chunk bounds narrow.

Numbers are stored as integer fractions between the bounds of their chunk.
"""

import numpy as np

from gs3d.io.rounding import OTHERS, with_largest

CHUNK = 256
"""Splats per chunk; they share their bounds."""
Bounds = tuple[np.ndarray, np.ndarray]
"""Minimum and maximum of every column in every chunk, each float32 [chunks, columns]."""
MORTON_STEPS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
"""Shifts and masks that insert two zero bits between the bits of a 21-bit number. Each step halves
the groups of adjacent bits."""


def chunks_of(rows: slice) -> slice:
    """The chunks of `rows`, which must start at the first row of a chunk."""
    return slice(rows.start // CHUNK, -(-rows.stop // CHUNK))


def chunk_bounds(values: np.ndarray) -> Bounds:
    """Bounds of the chunks of `values`, float32 [N, columns]."""
    starts = np.arange(0, len(values), CHUNK)
    return np.minimum.reduceat(values, starts, axis=0), np.maximum.reduceat(values, starts, axis=0)


def _per_row(per_chunk: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(per_chunk, CHUNK)[:count]


def pack(values: np.ndarray, bounds: Bounds, bits: tuple[int, ...]) -> np.ndarray:
    """`values` [N, columns] → uint32 [N], the first column in the highest bits.

    All bits are 0 where a chunk's bounds are equal.
    """
    packed = np.zeros(len(values), np.uint32)
    for column, width in enumerate(bits):
        low, high = bounds[0][:, column], bounds[1][:, column]
        per_step = np.divide(2**width - 1, high - low, out=np.zeros_like(low), where=high > low)
        steps = (values[:, column] - _per_row(low, len(values))) * _per_row(per_step, len(values))
        packed = packed << np.uint32(width) | np.rint(steps.clip(0, 2**width - 1)).astype(np.uint32)
    return packed


def unpack(packed: np.ndarray, bounds: Bounds, bits: tuple[int, ...]) -> np.ndarray:
    """Inverse of `pack`: float32 [N, columns]."""
    values = np.empty((len(packed), len(bits)), np.float32)
    for column in reversed(range(len(bits))):
        largest = np.uint32(2 ** bits[column] - 1)
        fraction = (packed & largest).astype(np.float32) / np.float32(largest)
        low, high = (_per_row(end[:, column], len(packed)) for end in bounds)
        values[:, column] = low * (1 - fraction) + high * fraction
        packed = packed >> np.uint32(bits[column])
    return values


def pack_rotations(quats: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz [N, 4] → uint32 [N].

    The index of the largest component in 2 bits, then the other three in 10 bits each.
    """
    largest = np.abs(quats).argmax(axis=1)
    # A quaternion and its negative are the same rotation. With the sign that makes the largest
    # component positive, the unit length determines it, so it need not be stored.
    signs = np.sign(np.take_along_axis(quats, largest[:, None], axis=1))
    others = np.take_along_axis(quats, OTHERS[largest], axis=1) * signs
    steps = np.rint(
        ((others * np.float32(0.5**0.5) + np.float32(0.5)) * 1023).clip(0, 1023)
    ).astype(np.uint32)
    return largest.astype(np.uint32) << 30 | steps[:, 0] << 20 | steps[:, 1] << 10 | steps[:, 2]


def unpack_rotations(packed: np.ndarray) -> np.ndarray:
    """Inverse of `pack_rotations`: float32 [N, 4], wxyz."""
    others = np.stack(
        [packed >> np.uint32(shift) & np.uint32(1023) for shift in (20, 10, 0)], axis=1
    ).astype(np.float32)
    others = (others / 1023 - np.float32(0.5)) * np.float32(2**0.5)
    return with_largest(others, packed >> np.uint32(30))


def morton_order(means: np.ndarray) -> np.ndarray:
    """Row indices, int64 [N], that sort finite `means` [N, 3] along a Morton curve.

    The grid of the curve has 2^21 steps along each axis of the bounding box.
    """
    low = means.min(axis=0).astype(np.float64)
    size = means.max(axis=0) - low
    codes = np.zeros(len(means), np.uint64)
    for axis in range(3):
        steps = (means[:, axis] - low[axis]) * ((2**21 - 1) / size[axis] if size[axis] > 0 else 0)
        code = steps.astype(np.uint64)
        for shift, mask in MORTON_STEPS:
            code = (code | code << np.uint64(shift)) & np.uint64(mask)
        codes |= code << np.uint64(axis)
    return codes.argsort(kind="stable")
