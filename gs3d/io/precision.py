"""What single precision loses of positions."""

import numpy as np

LOST = 1e-6
"""Rounding of positions that is worth a warning, as a share of the extent."""


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
