"""Estimates with the empty prompt beside those with the prompt and the negative prompt.

`priors.base.guided` puts the negative prompt in place of the empty one. Losses that need both take
them from here.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from torch import Tensor

from gs3d.guidance.distillation import Inputs
from gs3d.priors.base import epsilon, estimates, guided

if TYPE_CHECKING:
    from jaxtyping import Float


def empty_and_text(
    inputs: Inputs, z: Float[Tensor, "B C h w"], sigma: float
) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C h w"]]:
    """D_∅ and D_text, in one evaluation. The negative prompt has no effect."""
    condition = inputs.condition
    if condition.empty is not None:
        condition = dataclasses.replace(condition, negative=condition.empty, empty=None)
    return estimates(inputs.prior, z, sigma, condition)


def denoised_negative(
    inputs: Inputs, z: Float[Tensor, "B C h w"], sigma: float
) -> Float[Tensor, "B C h w"] | None:
    """D_neg, in half an evaluation; None if the negative prompt is the empty one."""
    if inputs.condition.empty is None:
        return None
    return guided(inputs.prior, z, sigma, dataclasses.replace(inputs.condition, empty=None), 0.0)


def guided_and_empty(
    inputs: Inputs, z: Float[Tensor, "B C h w"], sigma: float, cfg: float
) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C h w"]]:
    """D with the guidance scale `cfg`, and D_∅: one evaluation, one and a half if there is a
    negative prompt."""
    without, text = estimates(inputs.prior, z, sigma, inputs.condition)
    d = without + cfg * (text - without)
    return d, without if inputs.condition.empty is None else inputs.denoised(z, sigma, 0.0)


def empty_noise(
    inputs: Inputs, z: Float[Tensor, "B C h w"], sigma: float
) -> Float[Tensor, "B C h w"]:
    """ε̂_∅, in half an evaluation."""
    return epsilon(z, inputs.denoised(z, sigma, 0.0), sigma)
