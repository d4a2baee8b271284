# pyright: reportUnknownMemberType=false
# torch has no element type for `Tensor.tolist`.
"""Consistency distillation sampling (Consistent3D, arXiv 2401.09050, Sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from gs3d.core import rng
from gs3d.core.checks import ordered, require, within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.common import Weight, check_common, clamped, noise_for, weight_of
from gs3d.priors.base import Condition, Prior, epsilon, guided

if TYPE_CHECKING:
    from jaxtyping import Float

T1_MAX = 0.999
"""Upper bound of t1, because the noise level of a flow model is unbounded at t = 1."""


@dataclass(frozen=True)
class Cds:
    """Makes two points of one trajectory of the prior's ODE denoise to the same image.

    The gradient is λ(t)·(ε̂₁ − ε̂₂). It treats the Jacobian of ε̂ as the identity, as SDS does. The
    other reading of "skip the Jacobian" has the opposite sign and diverges from the mode;
    tests/guidance/test_closed_form.py tests both.
    """

    t: Ramp = Ramp(0.7, 0.1, "sqrt")
    """The smaller time, t2, over the run (Eq. 12)."""
    delta: tuple[float, float] = (0.1, 0.2)
    """t1 is uniform in [t2 + delta[0], t2 + delta[1]] (Algorithm 1)."""
    cfg: Ramp = Ramp(50.0, 20.0)
    """Classifier-free guidance scale."""
    weight: Weight = "one"
    """λ(t)."""
    clamp: Ramp | None = None
    """Element-wise bound of the gradient; None does not clamp."""
    fixed_noise: bool = True
    """Use one noise for the whole run, shared by all views (Sec. 3.3).

    False draws a new noise per view and step, as in the paper's ablation (c)."""
    random_t: bool = False
    """Draw t2 uniformly from the range of `t` instead of following the ramp.

    This is the paper's ablation (a)."""

    def __post_init__(self) -> None:
        # t1 is limited to T1_MAX and must stay above t2.
        within("t", self.t.ends, f"(0, {T1_MAX})")
        ordered("delta", self.delta, "[0, 1]")
        require(
            "delta",
            self.delta,
            self.delta[1] > 0,
            "an upper end above 0, since t1 = t2 gives no gradient",
        )
        check_common(self.cfg, self.clamp)

    def times(self, progress: float, seed: int, step: int) -> tuple[float, float]:
        """Times (t2, t1) of this step, with t1 > t2."""
        draws = torch.rand(2, generator=rng.generator(seed, "cds times", step))
        u = cast("list[float]", draws.tolist())
        low, high = sorted((self.t.start, self.t.end))
        t2 = low + (high - low) * u[0] if self.random_t else self.t(progress)
        t1 = t2 + self.delta[0] + (self.delta[1] - self.delta[0]) * u[1]
        return t2, min(t1, T1_MAX)

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
        t2, t1 = self.times(progress, seed, step)
        sigma2, sigma1 = prior.sigma(t2), prior.sigma(t1)
        scale = self.cfg(progress)
        noise = noise_for(z0, self.fixed_noise, prior.views, seed, step)
        x1 = z0.detach() + sigma1 * noise  # Eq. 16
        d1 = guided(prior, x1, sigma1, condition, scale)
        eps1 = epsilon(x1, d1, sigma1)
        x2 = x1 + (sigma2 - sigma1) * eps1  # Eq. 17, one Euler step down the ODE
        d2 = guided(prior, x2, sigma2, condition, scale)
        eps2 = epsilon(x2, d2, sigma2)
        grad = weight_of(self.weight, sigma2) * (eps1 - eps2)  # Eq. 10
        grad = clamped(grad, self.clamp, progress)
        return GuidanceOut(grad, d2, {"t": t2, "t1": t1, "cfg": scale})
