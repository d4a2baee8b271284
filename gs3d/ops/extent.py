"""Where splats lie and how far they reach, in ways that a few strays do not change."""

import numpy as np
from torch import Tensor

SHARE = 0.999
"""Of the means, which a radius or a box holds: up to a thousand splats all of them."""


def box_of(means: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner, float64 [3] each, of the box that holds 99.9 % of `means` [N, 3] along each axis."""
    values = means.detach().cpu().double().numpy()
    cut = (1 - SHARE) / 2
    # Ends that are means themselves: between two of them a box would cut off the outermost of a handful.
    return np.quantile(values, cut, axis=0, method="lower"), np.quantile(
        values, 1 - cut, axis=0, method="higher"
    )


def center_of(means: Tensor) -> np.ndarray:
    """Middle of `box_of`, float64 [3]."""
    low, high = box_of(means)
    return (low + high) / 2


def reach_of(means: Tensor, center: np.ndarray | tuple[float, ...] = (0.0, 0.0, 0.0)) -> float:
    """Radius about `center` that holds 99.9 % of `means` [N, 3]."""
    distances = np.linalg.norm(means.detach().cpu().double().numpy() - np.asarray(center), axis=1)
    return float(np.quantile(distances, SHARE, method="higher"))
