"""Values that other programs write in another form: logarithms, logits, or neither.

Each function returns the values as gs3d has them, and says in a warning when it took them for
another form. A file that gs3d wrote is never taken so.
"""

import warnings
from pathlib import Path

import numpy as np

from gs3d.io.precision import lost_in_single

FEW = 20
"""With fewer splats nothing is guessed from the range of their values."""
MANY = 100
"""Number of opacities from which their range says what they are."""
ROUNDING = 1e-3
"""How far a value may lie outside of its range by rounding alone."""
BLOB = 1 / 3
"""Splats that are all larger than this share of the extent show nothing but a blob."""


class OtherForm(UserWarning):
    """Warning from a reader: values of the file were taken for another form than its format has."""


def opacities_of_logits(path: Path, logits: np.ndarray, own: bool) -> np.ndarray:
    """Opacities [N] float32 from logits [N]; `own` says that gs3d wrote the file."""
    finite = logits[np.isfinite(logits)]
    if not own and look_like_probabilities(finite):
        _say(path, "its opacities fill 0 to 1, so they are taken as opacities, not as logits")
        return logits.astype(np.float32)
    return (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)


def look_like_probabilities(logits: np.ndarray) -> bool:
    """Whether opacity logits [N] look like probabilities, as if a sigmoid was applied twice.

    True only if there are at least 100 values, all in [0, 1], that reach both ends of it. Valid
    logits may lie there: opacities at initialization are all one value, say 0.6, and a few splats
    can have any. But many values that fill exactly this range, none clearly transparent and none
    clearly opaque, are the sigmoids of a trained model.
    """
    return len(logits) >= MANY and 0 <= logits.min() < 0.1 and 0.9 < logits.max() <= 1


def scales_of_logs(path: Path, logs: np.ndarray, means: np.ndarray, own: bool) -> np.ndarray:
    """Scales [N, 3] float32 from logarithms; −∞ is a scale of 0.

    Logarithms that are all positive, and would make each splat larger than a third of the extent,
    are scales.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scales = np.exp(logs.astype(np.float64)).astype(np.float32)
        if not own and len(logs) >= FEW and np.nanmin(logs) > 0:
            extent = float(np.nanmax(np.ptp(means, axis=0)))
            if np.nanmin(scales) > BLOB * extent > BLOB * np.nanmedian(logs):
                _say(path, "its scales are positive, so they are taken as scales, not logarithms")
                return logs.astype(np.float32)
    return scales


def scales_of_lengths(path: Path, scales: np.ndarray) -> np.ndarray:
    """Scales [N, 3] float32 of a format that holds them as they are.

    Where most are negative, they are logarithms. The sign of a few does not change the ellipsoid.
    """
    negative = scales < 0
    if negative.sum() > 0.5 * negative.size:
        _say(path, "most of its scales are negative, so they are taken as logarithms")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.exp(scales.astype(np.float64)).astype(np.float32)
    if negative.any():
        count = int(negative.any(axis=1).sum())
        _say(path, f"{count} of {len(scales)} splats have a negative scale; its sign is left out")
        return np.abs(scales)
    return scales


def plain_opacities(path: Path, opacities: np.ndarray) -> np.ndarray:
    """Opacities [N] float32 of a format that holds them as they are.

    Values outside [0, 1] are logits if they are many; else they are clipped.
    """
    outside = (opacities < -ROUNDING) | (opacities > 1 + ROUNDING)
    count = int(outside.sum())
    if count > 0.1 * len(opacities):
        _say(path, "its opacities reach beyond 0 to 1, so they are taken as logits")
        return (0.5 * (1 + np.tanh(0.5 * opacities.astype(np.float64)))).astype(np.float32)
    if count:
        _say(path, f"{count} of {len(opacities)} opacities lie outside 0 to 1 and are clipped")
    return opacities.clip(0, 1)


def rounded_positions(path: Path, means: np.ndarray) -> str | None:
    """What float32 would lose of positions [N, 3] in float64; None if next to nothing."""
    if (error := lost_in_single(means)) is None:
        return None
    finite = means[np.isfinite(means).all(axis=1)]
    return (
        f"{path}: positions up to {np.abs(finite).max():.7g} in double precision are rounded by up "
        f"to {error:.2g}; gs3d clean --center keeps them exact about their center"
    )


def _say(path: Path, what: str) -> None:
    warnings.warn(OtherForm(f"{path}: {what}"), stacklevel=4)
