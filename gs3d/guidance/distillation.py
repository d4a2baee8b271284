"""What all losses of score distillation share: settings, times, noise, bound of the gradient."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.cameras import Cameras
from gs3d.core.checks import require, within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut, LearnedModel
from gs3d.guidance.noise import NoiseKind, SurfacePoints, noise_for
from gs3d.priors.base import Condition, Prior, guided

if TYPE_CHECKING:
    from jaxtyping import Float

T_MAX = 0.999
"""Upper bound of all times, because the noise level of a flow model is unbounded at t = 1."""
Weight = Literal["one", "sigma", "sigma2", "inverse_sigma"]


def weight_of(kind: Weight, sigma: Tensor | float) -> Tensor | float:
    """Weight λ(t) of an ε-difference at noise level `sigma`.

    "one": 1. "sigma": σ = √((1 − ᾱ)/ᾱ), as in the released code of LucidDreamer. "sigma2":
    1 − ᾱ = σ²/(1 + σ²), as in DreamFusion. "inverse_sigma": 1/σ, which gives small noise levels
    more weight.
    """
    if kind == "sigma":
        return sigma
    if kind == "sigma2":
        return sigma**2 / (1 + sigma**2)
    return 1 / sigma if kind == "inverse_sigma" else 1.0


@dataclass(frozen=True)
class Inputs:
    """What a gradient is computed from."""

    prior: Prior
    condition: Condition
    z0: Float[Tensor, "B C h w"]
    """Latents of the renders, detached."""
    noise: Float[Tensor, "B C h w"]
    progress: float
    """Progress of the stage in [0, 1]."""
    seed: int
    step: int
    model: LearnedModel | None = None
    """What the loss trains; None for most losses."""
    cameras: Cameras | None = None
    """Those of the renders, given with `model`."""

    def denoised(
        self, z: Float[Tensor, "B C h w"], sigma: float | Float[Tensor, " B"], cfg: float
    ) -> Float[Tensor, "B C h w"]:
        """D(z, σ) with the guidance scale `cfg` (`priors.base.guided`)."""
        return guided(self.prior, z, sigma, self.condition, cfg)

    def uniform(self, name: str) -> float:
        """A random number in [0, 1) for this step; another one for each `name`."""
        return float(torch.rand((), generator=rng.generator(self.seed, name, self.step)))


@dataclass(frozen=True)
class Distillation(ABC):
    """A loss that adds noise to the render and compares estimates of the prior.

    A subclass declares those settings for which it has other defaults, adds its own, and defines
    `gradient`.
    """

    t: Ramp = Ramp(0.98, 0.02)
    """Time over the run. With `random_t`, only its ends count."""
    random_t: bool = False
    """Draw the time uniformly between the ends of `t` instead of following it."""
    narrow_t: tuple[float, float] | None = None
    """(progress, time): from that progress on, random times are at most that time, as
    ProlificDreamer and LucidDreamer have it. None never narrows them."""
    cfg: Ramp = Ramp(7.5, 7.5)
    """Classifier-free guidance scale."""
    weight: Weight = "one"
    """λ(t)."""
    clamp: Ramp | None = None
    """Element-wise bound of the gradient; None does not clamp."""
    noise: NoiseKind = "fresh"
    """Which noise is added: fresh, fixed or surface (`noise.NoiseKind`)."""
    pairs: bool = False
    """Average the gradients at +noise and −noise. It costs twice as much, and what is odd in the
    noise cancels."""

    def __post_init__(self) -> None:
        within("t", self.t.ends, "(0, 1]")
        if self.narrow_t is not None:
            within("narrow_t", self.narrow_t, "(0, 1]")
            in_range = self.narrow_t[1] >= min(self.t.ends)
            require("narrow_t", self.narrow_t, in_range, "a time in the range of t")
            require("narrow_t", self.narrow_t, self.random_t, "none without random_t")
        within("cfg", self.cfg.ends, "[0, inf)")
        if self.clamp is not None:
            within("clamp", self.clamp.ends, "[0, inf)")
        both = self.pairs and self.noise == "fixed"
        require("pairs", self.pairs, not both, "false with fixed noise")

    def time(self, inputs: Inputs) -> float:
        """Time t of this step, at most `T_MAX`."""
        if not self.random_t:
            return min(self.t(inputs.progress), T_MAX)
        low, high = sorted(self.t.ends)
        if self.narrow_t is not None and inputs.progress >= self.narrow_t[0]:
            high = min(high, self.narrow_t[1])
        return min(low + (high - low) * inputs.uniform("t"), T_MAX)

    @abstractmethod
    def gradient(self, inputs: Inputs) -> GuidanceOut:
        """The gradient on the latents for one noise, not yet clamped."""

    def __call__(
        self,
        prior: Prior,
        condition: Condition,
        z0: Float[Tensor, "B C h w"],
        progress: float,
        seed: int,
        step: int,
        surface: SurfacePoints | None = None,
        model: LearnedModel | None = None,
        cameras: Cameras | None = None,
    ) -> GuidanceOut:
        """Compute the gradient on the latents `z0`.

        `surface` has what the pixels of the renders show, which only surface noise needs. For
        `model` and `cameras` see `base.LearningGuidance`.
        """
        z0 = z0.detach()
        noise = noise_for(self.noise, z0, prior.views, seed, step, surface)
        inputs = Inputs(prior, condition, z0, noise, progress, seed, step, model, cameras)
        out: Any = self.gradient(inputs)
        if not isinstance(out, GuidanceOut):
            return out  # of a loss of the user's own; a run refuses it in one line
        grad, target = out.grad, out.target
        if self.pairs:
            other = self.gradient(dataclasses.replace(inputs, noise=-noise))
            grad = 0.5 * (grad + other.grad)
            if target is not None and other.target is not None:
                target = 0.5 * (target + other.target)
        if self.clamp is not None:
            bound = self.clamp(progress)
            grad = grad.clamp(-bound, bound)
        return dataclasses.replace(out, grad=grad, target=target)
