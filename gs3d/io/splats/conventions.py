"""Values that other programs write in another form: logarithms, logits, or neither.

Each function returns the values as gs3d has them, and says in a warning when it took them for
another form. A file that gs3d wrote is never taken so.
"""

import warnings
from pathlib import Path

import numpy as np

from gs3d.io.rounding import lost_in_single

FEW = 20
"""With fewer splats nothing is guessed from the range of their values."""
MANY = 100
"""Number of opacities or negative and positive scales whose distribution says what they are."""
ROUNDING = 1e-3
"""How far an opacity may lie outside of 0 to 1 by rounding alone."""
MARGIN = 0.05
"""How far an opacity may lie outside of 0 to 1 and is no logit for certain."""
BLOB = 1 / 3
"""Splats that are all larger than this share of the extent show nothing but a blob."""
STRAY = 0.01
"""Share of negative scales up to which they are scales whose sign strayed."""
SPREAD, LARGEST = 0.5, 20.0
"""Logarithms of scales differ by more than this from small to large ones, and are at most this."""


class OtherForm(UserWarning):
    """Warning from a reader: values of the file were taken for another form than its format has."""


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Opacities, float32, from logits, which may be infinite."""
    return (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)


def opacities_of_logits(path: Path, logits: np.ndarray, own: bool) -> np.ndarray:
    """Opacities [N] float32 from logits [N]; `own` says that gs3d wrote the file."""
    if not own and look_like_probabilities(logits[~np.isnan(logits)]):
        _say(path, "its opacities fill 0 to 1, so they are taken as opacities, not as logits")
        return logits.astype(np.float32).clip(0, 1)
    return sigmoid(logits)


def look_like_probabilities(logits: np.ndarray) -> bool:
    """Whether opacity logits [N] look like probabilities, as if a sigmoid was applied twice.

    True only if there are at least 100 values, all in [0, 1], that spread over more than half of
    it. Valid logits may lie there: opacities at initialization are all one value, say 0.6, and a
    few splats can have any. But many logits of a trained model, none clearly transparent and none
    clearly opaque, do not fill exactly this range.
    """
    if len(logits) < MANY:
        return False
    low, high = logits.min(), logits.max()
    return bool(low >= -ROUNDING and high <= 1 + ROUNDING and high - low > 0.5)


def scales_of_logs(path: Path, logs: np.ndarray, means: np.ndarray, own: bool) -> np.ndarray:
    """Scales float32 from logarithms, both [N, axes]; −∞ is a scale of 0.

    Logarithms of which none is negative, and that would make each splat larger than a third of the
    extent, are scales. Rows with NaN do not count.
    """
    with np.errstate(over="ignore"):
        scales = np.exp(logs.astype(np.float64)).astype(np.float32)
    if not own and _look_like_lengths(logs, means):
        _say(path, "its scales are positive, so they are taken as scales, not logarithms")
        return logs.astype(np.float32)
    return scales


def _look_like_lengths(logs: np.ndarray, means: np.ndarray) -> bool:
    """Whether logarithms of scales [N, axes] look like scales; `means` [N, 3]."""
    valid = np.isfinite(logs).all(axis=1) & np.isfinite(means).all(axis=1)
    if valid.sum() < FEW or logs[valid].min() < 0:
        return False
    # Without the outermost hundredth at either side: one stray splat is no extent.
    low, high = np.quantile(means[valid].astype(np.float64), (0.01, 0.99), axis=0)
    extent = float((high - low).max())
    least = float(np.exp(logs[valid].min().astype(np.float64)))
    return least > BLOB * extent > BLOB * float(np.median(logs[valid]))


def scales_of_lengths(path: Path, scales: np.ndarray) -> np.ndarray:
    """Scales [N, 3] float32 of a format that holds them as they are.

    Where `_look_like_logarithms` is true they are logarithms. Else the sign of the negative ones is
    left out, which does not change the ellipsoid.
    """
    if not (scales < 0).any():
        return scales
    if _look_like_logarithms(scales):
        _say(path, "its scales are negative or pass through 0, so they are taken as logarithms")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.exp(scales.astype(np.float64)).astype(np.float32)
    count = int((scales < 0).any(axis=1).sum())
    _say(path, f"{count} of {len(scales)} splats have a negative scale; its sign is left out")
    return np.abs(scales)


def _look_like_logarithms(scales: np.ndarray) -> bool:
    """Whether scales [N, 3], some of them negative, look like logarithms.

    All of them negative, or most of at least 20 splats. Fewer, but more than a hundredth of at
    least 100 values, look so if they are the low end of a distribution that passes through 0: most
    of them nearer to 0 than the positive ones are. A sign that strayed leaves the size as it is.
    Scales of small splats, whose sign strays most easily, differ by less than logarithms do.
    """
    values = scales[np.isfinite(scales)]
    sizes, positive = -values[values < 0], np.sort(values[values > 0])
    if not len(positive):
        return True
    if len(scales) < FEW:
        return False
    if len(sizes) > 0.5 * len(values):
        return True
    if len(values) < MANY or len(sizes) <= STRAY * len(values):
        return False
    low, high = np.quantile(values, (0.01, 0.99))
    # The mean rank of the negative ones among the positive ones, 0 to 1, is 0.5 if only the sign
    # differs, with a standard deviation of 1/√(12 n).
    rank = np.searchsorted(positive, sizes).mean() / len(positive)
    beyond_chance = rank < 0.5 - max(0.05, 3 / (12 * len(sizes)) ** 0.5)
    return bool(beyond_chance and high - low > SPREAD and positive[-1] <= LARGEST)


def plain_opacities(path: Path, opacities: np.ndarray) -> np.ndarray:
    """Opacities [N] float32 of a format that holds them as they are.

    Values clearly outside of [0, 1] are logits if they are many; else they are clipped.
    """
    beyond = np.maximum(-opacities, opacities - 1)
    clearly = int((beyond > MARGIN).sum())
    if len(opacities) >= FEW and clearly > 0.1 * len(opacities):
        _say(path, "its opacities reach beyond 0 to 1, so they are taken as logits")
        return sigmoid(opacities)
    if count := int((beyond > ROUNDING).sum()):
        _say(path, f"{count} of {len(opacities)} opacities lie outside 0 to 1 and are clipped")
    return opacities.clip(0, 1)


def with_filter(
    path: Path, scales: np.ndarray, opacities: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scales [N, axes] and opacities [N] under the 3D smoothing filter of Mip-Splatting.

    The filter is a Gaussian of standard deviation `widths` [N] (Yu et al. 2023, Eq. 9). It makes a
    splat larger, and more transparent in proportion. Viewers of such files know only the result.
    """
    _say(path, "the filter_3D of its splats is part of their scales and opacities now")
    before = scales.astype(np.float64)
    after = np.hypot(before, widths.astype(np.float64)[:, None])
    share = np.divide(before, after, out=np.ones_like(before), where=after != 0).prod(axis=1)
    return after.astype(np.float32), (opacities * share).astype(np.float32)


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
