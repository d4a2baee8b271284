"""Score distillation via inversion (Lukoianov et al. 2024, arXiv 2405.15891)."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import Distillation, Inputs, weight_of
from gs3d.guidance.inversion import inverted, times_between


@dataclass(frozen=True)
class Sdi(Distillation):
    """SDS with the noise that leads to this render, in place of a random one.

    A little noise is added to the render, z_e = z0 + σ(entry·t)·ε. DDIM inversion leads from there
    up to z_t. The noise of the render is κ = (z_t − z0)/σ_t, and the gradient λ(t)·(ε̂(z_t) − κ),
    which is λ(t)·(z0 − D(z_t))/σ_t.
    """

    t: Ramp = Ramp(0.98, 0.25)
    """Time over the run. With `random_t`, only its ends count."""
    cfg: Ramp = Ramp(7.5, 7.5)
    """Classifier-free guidance scale of ε̂."""
    entry: float = 0.3
    """Where the inversion begins, as a fraction of t."""
    inversion_steps: int = 1
    """Steps of the inversion, each of which costs an evaluation of the prior."""
    inversion_cfg: float = 0.0
    """Classifier-free guidance scale of the inversion; 0 ignores the prompt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("entry", self.entry, "(0, 1)")
        within("inversion_steps", self.inversion_steps, "[1, inf)")
        within("inversion_cfg", self.inversion_cfg, "(-inf, inf)")

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t, scale, z0 = self.time(inputs), self.cfg(inputs.progress), inputs.z0
        times = times_between(self.entry * t, t, self.inversion_steps)
        sigmas = [inputs.prior.sigma(u) for u in times]
        z = inverted(inputs, z0 + sigmas[0] * inputs.noise, sigmas, self.inversion_cfg)
        d = inputs.denoised(z, sigmas[-1], scale)
        grad = weight_of(self.weight, sigmas[-1]) * (z0 - d) / sigmas[-1]
        return GuidanceOut(grad, d, {"t": t, "cfg": scale})
