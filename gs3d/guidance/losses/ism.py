"""Interval score matching (LucidDreamer, Liang et al. 2023, arXiv 2311.11284)."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import Distillation, Inputs, weight_of
from gs3d.guidance.inversion import inverted, times_between
from gs3d.priors.base import epsilon


@dataclass(frozen=True)
class Ism(Distillation):
    """Compares two estimates one interval apart on the trajectory of the render.

    DDIM inversion without the prompt leads from the render to z_s and one interval further to z_t.
    The gradient is λ(t)·(ε̂(z_t) − ε̂_∅(z_s)), where only the first estimate knows the prompt. The
    released code has λ = σ_t (`weight: sigma`, as in the preset luciddreamer).
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

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t, scale = self.time(inputs), self.cfg(inputs.progress)
        s = max(t - self.interval, 0.5 * t)
        times = times_between(self.entry * s, s, self.inversion_steps)
        sigmas = [inputs.prior.sigma(u) for u in times]
        zs = inverted(inputs, inputs.z0 + sigmas[0] * inputs.noise, sigmas)
        sigma_s, sigma_t = sigmas[-1], inputs.prior.sigma(t)
        eps_s = epsilon(zs, inputs.denoised(zs, sigma_s, 0.0), sigma_s)
        zt = zs + (sigma_t - sigma_s) * eps_s
        d = inputs.denoised(zt, sigma_t, scale)
        grad = weight_of(self.weight, sigma_t) * (epsilon(zt, d, sigma_t) - eps_s)
        return GuidanceOut(grad, d, {"t": t, "s": s, "cfg": scale})
