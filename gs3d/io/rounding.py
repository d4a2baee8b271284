"""Rounding that several formats share: to bytes, to single precision, of rotations."""

import numpy as np

OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
"""For each component of a quaternion, the indices of the other three."""
LOST = 1e-6
"""Rounding of positions that is worth a warning, as a share of the extent."""


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Round to the nearest integer, halves up, and clip to 0 … 255: uint8."""
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def with_largest(others: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Unit quaternions, float32 [N, 4], from three components [N, 3] and the index of the fourth.

    The fourth is positive, and follows from the unit length. The order of the four is that of
    `others`.
    """
    quats = np.empty((len(others), 4), np.float32)
    np.put_along_axis(quats, OTHERS[largest], others.astype(np.float32), axis=1)
    fourth = np.sqrt(np.maximum(1 - (others * others).sum(axis=1), 0)).astype(np.float32)
    np.put_along_axis(quats, largest[:, None].astype(np.int64), fourth[:, None], axis=1)
    return quats


def lost_in_single(positions: np.ndarray) -> float | None:
    """Largest error of positions [N, 3] in float64 when they become float32.

    None if it is below a millionth of the extent, if they are float32 already, or if they lie
    beyond float32.
    """
    finite = positions[np.isfinite(positions).all(axis=1)]
    if positions.dtype != np.float64 or not len(finite):
        return None
    with np.errstate(over="ignore"):
        error = float(np.abs(finite - finite.astype(np.float32)).max())
    extent = float(np.ptp(finite, axis=0).max()) or float(np.abs(finite).max())
    return None if error <= LOST * extent or error == np.inf else error
