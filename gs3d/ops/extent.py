"""Position and size of splats, robust against a few outliers."""

import numpy as np
from torch import Tensor

SHARE = 0.999
"""Share of the means in a radius or a box. Up to a thousand splats, that is all of them."""


def box_of(means: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Box with 99.9 % of `means` [N, 3] along each axis, as its lower and upper vertex.

    Both are float64 [3].
    """
    values = means.detach().cpu().double().numpy()
    cut = (1 - SHARE) / 2
    # Quantiles are not interpolated, which would cut off the outermost of a few means.
    return np.quantile(values, cut, axis=0, method="lower"), np.quantile(
        values, 1 - cut, axis=0, method="higher"
    )


def center_of(means: Tensor) -> np.ndarray:
    """Center of `box_of`, float64 [3]."""
    low, high = box_of(means)
    return (low + high) / 2


def reach_of(means: Tensor, center: np.ndarray | tuple[float, ...] = (0.0, 0.0, 0.0)) -> float:
    """Radius about `center` that contains 99.9 % of `means` [N, 3]."""
    distances = np.linalg.norm(means.detach().cpu().double().numpy() - np.asarray(center), axis=1)
    return float(np.quantile(distances, SHARE, method="higher"))
