"""Sampling of images from a prior, to assess the prior without any 3D optimization."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.priors.base import Condition, Prior, epsilon, guided

if TYPE_CHECKING:
    from jaxtyping import Float


def karras_sigmas(
    steps: int, sigma_max: float, sigma_min: float = 0.02, rho: float = 7.0
) -> list[float]:
    """Noise levels from `sigma_max` to `sigma_min`, then 0; steps + 1 values.

    Karras et al. 2022, Eq. 5.
    """
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [*((high + ramp * (low - high)) ** rho).tolist(), 0.0]


@torch.no_grad()
def sample(
    prior: Prior,
    condition: Condition,
    noise: Float[Tensor, "B C h w"],
    scale: float,
    steps: int = 20,
) -> Float[Tensor, "B C h w"]:
    """Solve the probability-flow ODE with Heun's method: standard normal noise → z0.

    Karras et al. 2022, Alg. 1. `condition` is for B views, `scale` is the guidance scale. Takes
    2·steps − 1 evaluations of the prior, twice as many with guidance.
    """
    sigmas = karras_sigmas(steps, prior.sigma(1.0))
    z = sigmas[0] * noise
    for high, low in zip(sigmas[:-1], sigmas[1:], strict=True):
        slope = epsilon(z, guided(prior, z, high, condition, scale), high)
        ahead = z + (low - high) * slope
        if low > 0:
            slope = (slope + epsilon(ahead, guided(prior, ahead, low, condition, scale), low)) / 2
        z = z + (low - high) * slope
    return z
