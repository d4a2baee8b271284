"""Position and size of splats, robust against a few outliers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

SHARE = 0.999
"""Share of the means in a radius or a box. Up to a thousand splats, that is all of them."""
STRAYS, FAR = 0.02, 3.0
"""Largest share of strays, and their least distance as a multiple of that of all others."""
FEW = 10
"""Of fewer means none is a stray."""


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


def without_strays(means: Float[Tensor, "N 3"]) -> Float[Tensor, "M 3"]:
    """`means` without up to 2 % of them, but at least one, that lie far beyond all others.

    Far is over three times the distance of the others from the median.
    """
    if len(means) < FEW:
        return means
    values = means.detach().cpu().double().numpy()
    distances = np.linalg.norm(values - np.median(values, axis=0), axis=1)
    strays = max(1, int(STRAYS * len(values)))
    limit = FAR * np.partition(distances, len(values) - 1 - strays)[len(values) - 1 - strays]
    near = torch.from_numpy(distances <= limit).to(means.device)
    return means if bool(near.all()) else means[near]
