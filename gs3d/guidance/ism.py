"""Interval score matching (LucidDreamer, Liang et al. 2023, arXiv 2311.11284)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import Distillation, weight_of
from gs3d.guidance.inversion import inverted, times_between
from gs3d.priors.base import Condition, Prior, epsilon, guided

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Ism(Distillation):
    """Compares two estimates one interval apart on the trajectory of the render.

    DDIM inversion without the prompt leads from the render to z_s and one interval further to z_t.
    The gradient is λ(t)·(ε̂(z_t) − ε̂_∅(z_s)), where only the first estimate knows the prompt.
    """

    t: Ramp = Ramp(0.98, 0.02)
    """The larger time over the run. With `random_t`, only its ends count."""
    random_t: bool = True
    """Draw the time uniformly between the ends of `t` instead of following it."""
    cfg: Ramp = Ramp(7.5, 7.5)
    """Classifier-free guidance scale of ε̂(z_t)."""
    interval: float = 0.05
    """t − s; at most half of t."""
    entry: float = 0.3
    """Where the inversion begins, as a fraction of s."""
    inversion_steps: int = 1
    """Steps of the inversion up to s, each of which costs an evaluation of the prior."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("interval", self.interval, "(0, 1)")
        within("entry", self.entry, "(0, 1)")
        within("inversion_steps", self.inversion_steps, "[1, inf)")

    def gradient(
        self,
        prior: Prior,
        condition: Condition,
        z0: Float[Tensor, "B C h w"],
        noise: Float[Tensor, "B C h w"],
        progress: float,
        seed: int,
        step: int,
    ) -> GuidanceOut:
        t = self.time(progress, seed, step)
        s = max(t - self.interval, 0.5 * t)
        scale = self.cfg(progress)
        sigmas = [prior.sigma(u) for u in times_between(self.entry * s, s, self.inversion_steps)]
        zs = inverted(prior, z0 + sigmas[0] * noise, condition, sigmas, 0.0)
        sigma_s, sigma_t = sigmas[-1], prior.sigma(t)
        eps_s = epsilon(zs, guided(prior, zs, sigma_s, condition, 0.0), sigma_s)
        zt = zs + (sigma_t - sigma_s) * eps_s
        d = guided(prior, zt, sigma_t, condition, scale)
        grad = weight_of(self.weight, sigma_t) * (epsilon(zt, d, sigma_t) - eps_s)
        return GuidanceOut(grad, d, {"t": t, "s": s, "cfg": scale})
