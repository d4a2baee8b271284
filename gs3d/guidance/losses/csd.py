"""Classifier score distillation (Yu et al. 2023, arXiv 2310.19415)."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.by_prompt import denoised_negative, empty_and_text
from gs3d.guidance.distillation import Distillation, Inputs, weight_of


@dataclass(frozen=True)
class Csd(Distillation):
    """The guidance alone: what the prompt adds to the estimate, without the estimate.

    With z_t = z0 + σ_t·n, the gradient is

        λ(t)·[ω1·(ε̂_text − ε̂_∅) − ω2·(ε̂_neg − ε̂_∅)],

    ω1 = `cfg` and ω2 = `negative`, which is annealed. Without a negative prompt the second term is
    zero. Nothing holds the render near the data: where both estimates have the same spread, the
    gradient is the same for every z0.

    From the released code (CVMI-Lab/Classifier-Score-Distillation, csd-if.yaml): ω1 = 1, ω2 rises
    from 0 to 1 in the first half of the run, λ = 1. There the gradient is divided by its norm, and
    Perp-Neg has a weight of its own, which is not done here. Its second stage (csd-sd-refine.yaml)
    has times of 0.02 to 0.5, ω2 from 1 to 0.5 and λ = 1 − ᾱ: `negative: {start: 1, end: 0.5}`,
    `negative_by: 1`, `weight: sigma2`. The paper's own text was not at hand, so equation numbers
    are missing.
    """

    t: Ramp = Ramp(0.98, 0.02)
    """Time over the run. With `random_t`, only its ends count."""
    random_t: bool = True
    """Draw the time uniformly between the ends of `t` instead of following it."""
    narrow_t: tuple[float, float] | None = (0.5, 0.5)
    """(progress, time): from that progress on, random times are at most that time; None never
    narrows them."""
    cfg: Ramp = Ramp(1.0, 1.0)
    """ω1, the weight of the prompt."""
    negative: Ramp = Ramp(0.0, 1.0)
    """ω2, the weight of the negative prompt."""
    negative_by: float = 0.5
    """Progress at which `negative` has arrived at its end; it stays there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("negative", self.negative.ends, "[0, inf)")
        within("negative_by", self.negative_by, "(0, 1]")

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t, toward = self.time(inputs), self.cfg(inputs.progress)
        away = self.negative(inputs.progress / self.negative_by)
        sigma = inputs.prior.sigma(t)
        z = inputs.z0 + sigma * inputs.noise
        empty, text = empty_and_text(inputs, z, sigma)
        move = toward * (text - empty)
        if away and (other := denoised_negative(inputs, z, sigma)) is not None:
            move = move - away * (other - empty)
        grad = -weight_of(self.weight, sigma) * move / sigma
        return GuidanceOut(grad, inputs.z0 + move, {"t": t, "cfg": toward, "negative": away})
