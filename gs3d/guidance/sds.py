"""Score distillation sampling (DreamFusion, arXiv 2209.14988; Consistent3D Eq. 4), the baseline."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.common import GuidanceOut, Weight, check_common, clamped, noise_for, weight_of
from gs3d.priors.base import Condition, Prior, epsilon, guided


@dataclass(frozen=True)
class Sds:
    """The gradient w(t)·(ε̂ − ε): one evaluation a step, an SDE sample rather than an ODE one."""

    t: Ramp = Ramp(0.98, 0.02)
    """With `random_t` its two ends bound a uniform draw; else the time follows it."""
    random_t: bool = True
    """DreamFusion's random time; False anneals along `t`."""
    cfg: Ramp = Ramp(100.0, 100.0)
    """Classifier-free guidance scale."""
    weight: Weight = "sigma2"
    """λ(t)."""
    clamp: Ramp | None = None
    """Element-wise bound of the gradient."""
    fixed_noise: bool = False
    """Keep one noise for the whole run, as CDS does."""

    def __post_init__(self) -> None:
        within("t", self.t.ends, "(0, 1]")
        check_common(self.cfg, self.clamp)

    def time(self, progress: float, seed: int, step: int) -> float:
        """t of this step."""
        if not self.random_t:
            return self.t(progress)
        low, high = sorted((self.t.start, self.t.end))
        return low + (high - low) * float(
            torch.rand((), generator=rng.generator(seed, "sds time", step))
        )

    def __call__(
        self, prior: Prior, condition: Condition, z0: Tensor, progress: float, seed: int, step: int
    ) -> GuidanceOut:
        """z0 [B, C, h, w] → gradient on it."""
        t = self.time(progress, seed, step)
        sigma, scale = prior.sigma(t), self.cfg(progress)
        noise = noise_for(z0, self.fixed_noise, prior.views, seed, step)
        x = z0.detach() + sigma * noise
        d = guided(prior, x, sigma, condition, scale)
        grad = clamped(
            weight_of(self.weight, sigma) * (epsilon(x, d, sigma) - noise), self.clamp, progress
        )
        return GuidanceOut(grad, d, {"t": t, "cfg": scale})
