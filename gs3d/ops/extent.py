"""Position and size of splats, robust against a few outliers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

SHARE = 0.999
"""Share of the means in a radius or a box. Up to a thousand splats, that is all of them."""


def box_of(
    means: Float[Tensor, "N 3"],
) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
    """Box with 99.9 % of `means` along each axis, as its lower and upper vertex."""
    values = means.detach().cpu().double().numpy()
    cut = (1 - SHARE) / 2
    # Quantiles are not interpolated, which would cut off the outermost of a few means.
    return np.quantile(values, cut, axis=0, method="lower"), np.quantile(
        values, 1 - cut, axis=0, method="higher"
    )


def center_of(means: Float[Tensor, "N 3"]) -> Float64[np.ndarray, " 3"]:
    """Center of `box_of`."""
    low, high = box_of(means)
    return (low + high) / 2


def reach_of(
    means: Float[Tensor, "N 3"],
    center: Float[np.ndarray, " 3"] | tuple[float, ...] = (0.0, 0.0, 0.0),
) -> float:
    """Radius about `center` that contains 99.9 % of `means`."""
    distances = np.linalg.norm(means.detach().cpu().double().numpy() - np.asarray(center), axis=1)
    return float(np.quantile(distances, SHARE, method="higher"))
