"""Analytic priors: the denoiser is known in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.priors.base import Condition
from gs3d.priors.scalings import VpTable

TABLE = VpTable.scaled_linear()
CONDITION = Condition(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))


@dataclass(frozen=True)
class Mixture:
    """Prior whose data distribution is an equally weighted mixture of Gaussians N(m_k, s²).

    Samples are [C, h, w]. One component gives a plain Gaussian.
    """

    means: Tensor
    """[K, C, h, w]."""
    s: float
    name: str = "mixture"
    image_size: int = 2
    views: int = 1

    def sigma(self, t: float) -> float:
        return TABLE.sigma(t)

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        variance = self.s**2 + sigma[:, None] ** 2
        distance = (z[:, None] - self.means[None]).flatten(2).square().sum(2)  # [B, K]
        weight = torch.softmax(-distance / (2 * variance), dim=1)[:, :, None, None, None]
        shrink = (self.s**2 / variance)[:, :, None, None, None]
        return (weight * (self.means[None] + shrink * (z[:, None] - self.means[None]))).sum(1)


@dataclass(frozen=True)
class Prompted(Mixture):
    """Mixture that the prompt moves, by the mean of its embedding."""

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        shift = text.mean((1, 2))[:, None, None, None]
        return shift + super().denoise(z - shift, sigma, text)


MAX_SIGMA = 4.0


class LinearSigmaMixture(Mixture):
    """Mixture with a noise level linear in time: a step in t is the same step in σ at any t."""

    def sigma(self, t: float) -> float:
        return MAX_SIGMA * t


def condition(batch: int) -> Condition:
    return Condition(CONDITION.text.expand(batch, -1, -1), CONDITION.negative.expand(batch, -1, -1))


def prompts(batch: int, text: float, empty: float, negative: float | None = None) -> Condition:
    """Embeddings of one number each. Without `negative`, the negative prompt is the empty one."""
    text_, empty_ = (torch.full((batch, 1, 1), value) for value in (text, empty))
    if negative is None:
        return Condition(text_, empty_)
    return Condition(text_, torch.full((batch, 1, 1), negative), empty_)


def descend(
    prior, guidance, z0: Tensor, steps: int, rate: float, seed: int = 0, condition=condition
) -> Tensor:
    """Run gradient descent on z0 with the guidance's gradient, for progress from 0 to 1.

    `condition` makes that of a batch of a given size."""
    for step in range(steps):
        z0 = z0 - rate * guidance(prior, condition(len(z0)), z0, step / steps, seed, step).grad
    return z0
