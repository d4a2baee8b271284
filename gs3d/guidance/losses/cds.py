"""Consistency distillation sampling (Consistent3D, arXiv 2401.09050, Sec. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from gs3d.core import rng
from gs3d.core.checks import ordered, require, within
from gs3d.core.runtime.transfer import moved
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import T_MAX, Distillation, Inputs, Weight, weight_of
from gs3d.guidance.noise import NoiseKind
from gs3d.priors.base import epsilon


@dataclass(frozen=True)
class Cds(Distillation):
    """Makes two points of one trajectory of the prior's ODE denoise to the same image.

    The gradient is λ(t)·(ε̂₁ − ε̂₂). It treats the Jacobian of ε̂ as the identity, as SDS does. The
    other reading of "skip the Jacobian" has the opposite sign and diverges from the mode;
    tests/guidance/test_closed_form.py tests both.
    """

    t: Ramp = Ramp(0.7, 0.1, "sqrt")
    """The smaller time, t2, over the run (Eq. 12). With `random_t`, only its ends count, which is
    the paper's ablation (a)."""
    delta: tuple[float, float] = (0.1, 0.2)
    """t1 is uniform in [t2 + delta[0], t2 + delta[1]] (Algorithm 1)."""
    per_image: bool = False
    """Draw t1 for each image, as the released code does. False draws one for each step, as in
    Algorithm 1. The images of a multi-view prior's group share it."""
    cfg: Ramp = Ramp(50.0, 20.0)
    """Classifier-free guidance scale."""
    weight_at: Literal["t1", "t2"] = "t2"
    """The time t in λ(t): t2 in Eq. 10, t1 in the released code."""
    weight: Weight = "one"
    """λ(t)."""
    noise: NoiseKind = "fixed"
    """Which noise is added: fresh, fixed or surface (`noise.NoiseKind`). The paper's is fixed
    (Sec. 3.3); fresh is its ablation (c)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # t1 is limited to T_MAX and must stay above t2.
        within("t", self.t.ends, f"(0, {T_MAX})")
        ordered("delta", self.delta, "[0, 1]")
        require(
            "delta",
            self.delta,
            self.delta[1] > 0,
            "an upper end above 0, since t1 = t2 gives no gradient",
        )

    def times(self, inputs: Inputs) -> tuple[float, list[float]]:
        """Time t2 of this step, and t1 > t2 of each image."""
        t2, images = self.time(inputs), len(inputs.z0)
        draws = images // inputs.prior.views if self.per_image else 1
        u = torch.rand(draws, generator=rng.generator(inputs.seed, "t1", inputs.step))
        t1 = (t2 + self.delta[0] + (self.delta[1] - self.delta[0]) * u).clamp(max=T_MAX)
        return t2, [float(t) for t in t1.repeat_interleave(images // draws)]

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        (t2, t1), scale = self.times(inputs), self.cfg(inputs.progress)
        sigma2 = inputs.prior.sigma(t2)
        sigma1 = moved(torch.tensor([inputs.prior.sigma(t) for t in t1]), inputs.z0.device)
        s1 = sigma1[:, None, None, None]
        x1 = inputs.z0 + s1 * inputs.noise  # Eq. 16
        d1 = inputs.denoised(x1, sigma1, scale)
        eps1 = epsilon(x1, d1, s1)
        x2 = x1 + (sigma2 - s1) * eps1  # Eq. 17, one Euler step down the ODE
        d2 = inputs.denoised(x2, sigma2, scale)
        eps2 = epsilon(x2, d2, sigma2)
        weight = weight_of(self.weight, s1 if self.weight_at == "t1" else sigma2)
        grad = weight * (eps1 - eps2)  # Eq. 10
        return GuidanceOut(grad, d2, {"t": t2, "t1": sum(t1) / len(t1), "cfg": scale})
