"""DDIM inversion: from a render up the ODE trajectory to a noise level (Song et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from gs3d.guidance.distillation import Inputs
from gs3d.priors.base import epsilon

if TYPE_CHECKING:
    from jaxtyping import Float


def inverted(
    inputs: Inputs, z: Float[Tensor, "B C h w"], sigmas: Sequence[float], cfg: float = 0.0
) -> Float[Tensor, "B C h w"]:
    """Follow the ODE from `z` at noise level `sigmas[0]` through the others, which rise.

    Each step is an Euler step, z + (σ' − σ)·ε̂(z, σ), with the guidance scale `cfg`; at 0 the
    prompt has no effect.
    """
    for low, high in zip(sigmas, sigmas[1:], strict=False):
        z = z + (high - low) * epsilon(z, inputs.denoised(z, low, cfg), low)
    return z


def times_between(low: float, high: float, steps: int) -> list[float]:
    """`steps` + 1 evenly spaced times from `low` to `high`."""
    return [low + (high - low) * i / steps for i in range(steps + 1)]
