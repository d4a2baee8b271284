"""Score distillation sampling, the baseline (arXiv 2209.14988, DreamFusion; Consistent3D Eq. 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.common import Weight, check_common, clamped, noise_for, weight_of
from gs3d.priors.base import Condition, Prior, epsilon, guided

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Sds:
    """Gradient λ(t)·(ε̂ − ε), with one evaluation of the prior per step.

    It samples the SDE, where CDS follows a trajectory of the ODE.
    """

    t: Ramp = Ramp(0.98, 0.02)
    """With `random_t`, the time is drawn uniformly between these two ends; without, it runs from
    start to end."""
    random_t: bool = True
    """Draw the time uniformly, as DreamFusion does; False anneals it along `t`."""
    cfg: Ramp = Ramp(100.0, 100.0)
    """Classifier-free guidance scale."""
    weight: Weight = "sigma2"
    """λ(t)."""
    clamp: Ramp | None = None
    """Element-wise bound of the gradient; None does not clamp."""
    fixed_noise: bool = False
    """Use one noise for the whole run, as CDS does."""

    def __post_init__(self) -> None:
        within("t", self.t.ends, "(0, 1]")
        check_common(self.cfg, self.clamp)

    def time(self, progress: float, seed: int, step: int) -> float:
        """Time t of this step."""
        if not self.random_t:
            return self.t(progress)
        low, high = sorted((self.t.start, self.t.end))
        u = torch.rand((), generator=rng.generator(seed, "sds time", step))
        return low + (high - low) * float(u)

    def __call__(
        self,
        prior: Prior,
        condition: Condition,
        z0: Float[Tensor, "B C h w"],
        progress: float,
        seed: int,
        step: int,
    ) -> GuidanceOut:
        """Compute the gradient on the latents `z0`."""
        t = self.time(progress, seed, step)
        sigma, scale = prior.sigma(t), self.cfg(progress)
        noise = noise_for(z0, self.fixed_noise, prior.views, seed, step)
        x = z0.detach() + sigma * noise
        d = guided(prior, x, sigma, condition, scale)
        grad = weight_of(self.weight, sigma) * (epsilon(x, d, sigma) - noise)
        grad = clamped(grad, self.clamp, progress)
        return GuidanceOut(grad, d, {"t": t, "cfg": scale})
