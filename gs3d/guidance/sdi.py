"""Score distillation via inversion (Lukoianov et al. 2024, arXiv 2405.15891)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import Distillation, weight_of
from gs3d.guidance.inversion import inverted, times_between
from gs3d.priors.base import Condition, Prior, guided

if TYPE_CHECKING:
    from jaxtyping import Float


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
        scale = self.cfg(progress)
        sigmas = [prior.sigma(u) for u in times_between(self.entry * t, t, self.inversion_steps)]
        z = z0 + sigmas[0] * noise
        z = inverted(prior, z, condition, sigmas, self.inversion_cfg)
        d = guided(prior, z, sigmas[-1], condition, scale)
        grad = weight_of(self.weight, sigmas[-1]) * (z0 - d) / sigmas[-1]
        return GuidanceOut(grad, d, {"t": t, "cfg": scale})
