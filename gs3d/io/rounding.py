"""Rounding that several formats of splats share: bytes, and rotations without one component."""

import numpy as np

OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
"""For each component of a quaternion, the indices of the other three."""


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
