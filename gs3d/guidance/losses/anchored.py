"""Anchored consistency: CDS with the end of the trajectory in place of one of its two points.

A consistency function maps every point of an ODE trajectory to the end of it (Song et al. 2023,
arXiv 2303.01469, Definition 1). CDS (Consistent3D, Eq. 10) compares what two points z_t1 and z_t2
denoise to, and never the end z0 itself. On data of spread s around a mean m it therefore pulls an
error back with a strength of s²(σ1 − σ2)/((s² + σ1²)(s² + σ2²)), which vanishes where data do not
vary: grain on a plain surface stays. Here both points are compared with z0, the anchor, which pulls
back with 1/σ there.

The trajectory is that which leads to z0: it begins near z0 and is followed upwards, as in SDI.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import T_MAX, Distillation, Inputs, weight_of
from gs3d.guidance.inversion import inverted
from gs3d.priors.base import epsilon, estimates


@dataclass(frozen=True)
class Anchored(Distillation):
    """Makes two points of the render's own trajectory denoise to the render.

    From z_e = z0 + σ(entry·t2)·ε, one Euler step without the prompt leads to z_t2, a second one to
    z_t1. The gradient is the mean of λ(t)·(z0 − D(z_t))/σ_t over both.
    """

    t: Ramp = Ramp(0.7, 0.1, "sqrt")
    """The smaller time, t2, over the run. With `random_t`, only its ends count."""
    delta: float = 0.15
    """t1 − t2; 0 leaves z_t1 out."""
    cfg: Ramp = Ramp(7.5, 7.5)
    """Classifier-free guidance scale."""
    entry: float = 0.1
    """Where the trajectory begins, as a fraction of t2."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("delta", self.delta, "[0, 1)")
        within("entry", self.entry, "(0, 1)")

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t2, scale = self.time(inputs), self.cfg(inputs.progress)
        t1 = min(t2 + self.delta, T_MAX)
        entry, low, high = (inputs.prior.sigma(t) for t in (self.entry * t2, t2, t1))
        z2 = inverted(inputs, inputs.z0 + entry * inputs.noise, [entry, low])
        grad, target, without = self._toward(inputs, z2, low, scale)
        if high > low:
            if inputs.condition.empty is not None:
                without = inputs.denoised(z2, low, 0.0)
            z1 = z2 + (high - low) * epsilon(z2, without, low)
            grad = 0.5 * (grad + self._toward(inputs, z1, high, scale)[0])
        return GuidanceOut(grad, target, {"t": t2, "t1": t1, "cfg": scale})

    def _toward(
        self, inputs: Inputs, z: Tensor, sigma: float, scale: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradient for the point `z`; what it denoises to with guidance, and with D_neg alone."""
        without, text = estimates(inputs.prior, z, sigma, inputs.condition)
        d = without + scale * (text - without)
        return weight_of(self.weight, sigma) * (inputs.z0 - d) / sigma, d, without
