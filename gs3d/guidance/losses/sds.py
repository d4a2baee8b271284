"""Score distillation sampling, the baseline (arXiv 2209.14988, DreamFusion; Consistent3D Eq. 4),
and ASD, which has an estimate in place of the noise."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import T_MAX, Distillation, Inputs, Weight, weight_of
from gs3d.guidance.window import T_MIN, Windowed
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


@dataclass(frozen=True)
class Asd(Windowed):
    """Asynchronous score distillation (ScaleDreamer, Ma et al. 2024, arXiv 2407.02040).

    The gradient is λ(t)·(ε̂(z_t) − ε̂_text(z_t')), with the same noise in z_t = z0 + σ_t·n and z_t',
    t' − t uniform in [0, `shift`·(t − t_min)], t_min the lower end of the times. The second
    estimate knows the prompt and has no guidance. It stands for that of VSD's trained network. On
    data N(m, s²) that the prompt does not change, the gradient pulls towards m only where
    σ_t·σ_t' > s².

    As in the released code (theEricMa/ScaleDreamer, asd_sd_nerf.yaml), which also has Perp-Neg. The
    range of t' − t agrees with a summary of the paper by others; its own text was not at hand, so
    equation numbers are missing.
    """

    slide: float = 1.0
    """Progress at which the upper end of the times has arrived at the end of `t`."""
    cfg: Ramp = Ramp(7.5, 7.5)
    """Classifier-free guidance scale of ε̂."""
    weight: Weight = "sigma2"
    """λ(t)."""
    shift: float = 0.1
    """Largest (t' − t)/(t − t_min)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("shift", self.shift, "[0, inf)")

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t, scale = self.time(inputs), self.cfg(inputs.progress)
        low = self.range_at(inputs.progress)[0] if self.random_t else T_MIN
        later = t + self.shift * max(t - low, 0.0) * inputs.uniform("shift")
        later = min(later, T_MAX)
        sigma, sigma2 = inputs.prior.sigma(t), inputs.prior.sigma(later)
        z, z2 = (inputs.z0 + level * inputs.noise for level in (sigma, sigma2))
        d = inputs.denoised(z, sigma, scale)
        eps2 = epsilon(z2, inputs.denoised(z2, sigma2, 1.0), sigma2)
        grad = weight_of(self.weight, sigma) * (epsilon(z, d, sigma) - eps2)
        return GuidanceOut(grad, d, {"t": t, "t2": later, "cfg": scale})
