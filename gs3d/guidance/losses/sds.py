"""Score distillation sampling, the baseline (arXiv 2209.14988, DreamFusion; Consistent3D Eq. 4)."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import Distillation, Inputs, Weight, weight_of
from gs3d.priors.base import epsilon


@dataclass(frozen=True)
class Sds(Distillation):
    """Gradient λ(t)·(ε̂ − ε), with one evaluation of the prior per step.

    It samples the SDE, where CDS follows a trajectory of the ODE. The defaults are DreamFusion's.
    """

    t: Ramp = Ramp(0.98, 0.02)
    """Time over the run. With `random_t`, only its ends count."""
    random_t: bool = True
    """Draw the time uniformly, as DreamFusion does; False anneals it along `t`."""
    cfg: Ramp = Ramp(100.0, 100.0)
    """Classifier-free guidance scale."""
    weight: Weight = "sigma2"
    """λ(t)."""

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t, scale = self.time(inputs), self.cfg(inputs.progress)
        sigma = inputs.prior.sigma(t)
        z = inputs.z0 + sigma * inputs.noise
        d = inputs.denoised(z, sigma, scale)
        grad = weight_of(self.weight, sigma) * (epsilon(z, d, sigma) - inputs.noise)
        return GuidanceOut(grad, d, {"t": t, "cfg": scale})
