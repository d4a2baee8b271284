"""Numbers as small whole fractions between the bounds of their chunk, and the order that makes these bounds narrow."""

import numpy as np

CHUNK = 256
"""Splats that share their bounds."""
Bounds = tuple[np.ndarray, np.ndarray]
"""Least and largest value of every column in every chunk, float32 [chunks, columns] each."""
OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
"""Of each of the four numbers of a quaternion, the three others."""
SPREAD = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
"""Shifts and masks that leave two free bits between the 21 bits of a number, halving the groups that still stand together each time."""


def chunks_of(rows: slice) -> slice:
    """The chunks of rows that begin with one."""
    return slice(rows.start // CHUNK, -(-rows.stop // CHUNK))


def chunk_bounds(values: np.ndarray) -> Bounds:
    """Of `values` [N, columns], float32."""
    starts = np.arange(0, len(values), CHUNK)
    return np.minimum.reduceat(values, starts, axis=0), np.maximum.reduceat(values, starts, axis=0)


def _of_rows(per_chunk: np.ndarray, count: int) -> np.ndarray:
    return np.repeat(per_chunk, CHUNK)[:count]


def pack(values: np.ndarray, bounds: Bounds, bits: tuple[int, ...]) -> np.ndarray:
    """`values` [N, columns] → uint32 [N], the first column in the highest bits. Where a chunk's bounds are equal, all bits are 0."""
    packed = np.zeros(len(values), np.uint32)
    for column, width in enumerate(bits):
        low, high = bounds[0][:, column], bounds[1][:, column]
        per_step = np.divide(2**width - 1, high - low, out=np.zeros_like(low), where=high > low)
        steps = (values[:, column] - _of_rows(low, len(values))) * _of_rows(per_step, len(values))
        packed = packed << np.uint32(width) | np.rint(steps.clip(0, 2**width - 1)).astype(np.uint32)
    return packed


def unpack(packed: np.ndarray, bounds: Bounds, bits: tuple[int, ...]) -> np.ndarray:
    """What `pack` made of values: float32 [N, columns]."""
    values = np.empty((len(packed), len(bits)), np.float32)
    for column in reversed(range(len(bits))):
        largest = np.uint32(2 ** bits[column] - 1)
        fraction = (packed & largest).astype(np.float32) / np.float32(largest)
        low, high = (_of_rows(end[:, column], len(packed)) for end in bounds)
        values[:, column] = low * (1 - fraction) + high * fraction
        packed = packed >> np.uint32(bits[column])
    return values


def pack_rotations(quats: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz [N, 4] → uint32 [N]: which number is largest in 2 bits, then the three others in 10 bits each."""
    largest = np.abs(quats).argmax(axis=1)
    # A quaternion and its negative are one rotation, so the largest need not be kept: it is positive, and the length is 1.
    signs = np.sign(np.take_along_axis(quats, largest[:, None], axis=1))
    others = np.take_along_axis(quats, OTHERS[largest], axis=1) * signs
    steps = np.rint(
        ((others * np.float32(0.5**0.5) + np.float32(0.5)) * 1023).clip(0, 1023)
    ).astype(np.uint32)
    return largest.astype(np.uint32) << 30 | steps[:, 0] << 20 | steps[:, 1] << 10 | steps[:, 2]


def unpack_rotations(packed: np.ndarray) -> np.ndarray:
    """float32 [N, 4], wxyz."""
    others = np.stack(
        [packed >> np.uint32(shift) & np.uint32(1023) for shift in (20, 10, 0)], axis=1
    ).astype(np.float32)
    others = (others / 1023 - np.float32(0.5)) * np.float32(2**0.5)
    largest = packed >> np.uint32(30)
    quats = np.empty((len(packed), 4), np.float32)
    np.put_along_axis(quats, OTHERS[largest], others, axis=1)
    rest = np.sqrt(np.maximum(1 - (others * others).sum(axis=1), 0))
    np.put_along_axis(quats, largest[:, None].astype(np.int64), rest[:, None], axis=1)
    return quats


def morton_order(means: np.ndarray) -> np.ndarray:
    """The rows of finite `means` [N, 3] along a Morton curve through 2^21 cells along each axis of their box: int64 [N]."""
    low = means.min(axis=0).astype(np.float64)
    size = means.max(axis=0) - low
    codes = np.zeros(len(means), np.uint64)
    for axis in range(3):
        cells = (means[:, axis] - low[axis]) * ((2**21 - 1) / size[axis] if size[axis] > 0 else 0)
        code = cells.astype(np.uint64)
        for shift, mask in SPREAD:
            code = (code | code << np.uint64(shift)) & np.uint64(mask)
        codes |= code << np.uint64(axis)
    return codes.argsort(kind="stable")
