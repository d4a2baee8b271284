"""Noise-free score distillation (Katzir et al. 2023, arXiv 2310.17590)."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.by_prompt import denoised_negative, empty_and_text
from gs3d.guidance.distillation import Distillation, Inputs, Weight, weight_of


@dataclass(frozen=True)
class Nfsd(Distillation):
    """SDS without the noise: only what corrects the render and what the prompt adds.

    With z_t = z0 + σ_t·n, the gradient is λ(t)·(δ_D + s·δ_C), s = `cfg`, where δ_C = ε̂_text − ε̂_∅,
    and δ_D is ε̂_∅ below the time `threshold`, else ε̂_∅ − ε̂_neg: the noise, which both of these
    contain, cancels. Without a negative prompt δ_D is 0 there, and the loss is CSD.

    The authors have released no code. The form of δ_D and the threshold of 200 of 1000 steps are
    those of several implementations by others, which name Eq. 6; λ = 1 − ᾱ is theirs too. s = 7.5
    is the usual scale of Stable Diffusion; the paper's own text was not at hand. Its negative
    prompt is another one than gs3d's.
    """

    t: Ramp = Ramp(0.98, 0.02)
    """Time over the run. With `random_t`, only its ends count."""
    random_t: bool = True
    """Draw the time uniformly between the ends of `t` instead of following it."""
    cfg: Ramp = Ramp(7.5, 7.5)
    """Classifier-free guidance scale s."""
    weight: Weight = "sigma2"
    """λ(t)."""
    threshold: float = 0.2
    """Time from which on δ_D is taken against the negative prompt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("threshold", self.threshold, "[0, 1]")

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t, scale = self.time(inputs), self.cfg(inputs.progress)
        sigma = inputs.prior.sigma(t)
        z = inputs.z0 + sigma * inputs.noise
        empty, text = empty_and_text(inputs, z, sigma)
        # In denoised images: −σ·ε̂_∅ = D_∅ − z, and −σ·(ε̂_∅ − ε̂_neg) = D_∅ − D_neg.
        move = scale * (text - empty)
        if t < self.threshold:
            move = move + empty - z
        elif (other := denoised_negative(inputs, z, sigma)) is not None:
            move = move + empty - other
        grad = -weight_of(self.weight, sigma) * move / sigma
        return GuidanceOut(grad, inputs.z0 + move, {"t": t, "cfg": scale})
