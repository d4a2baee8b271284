"""Guided consistency sampling (Li et al. 2024, arXiv 2407.13584)."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.by_prompt import empty_noise, guided_and_empty
from gs3d.guidance.distillation import T_MAX, Inputs, weight_of
from gs3d.guidance.noise import NoiseKind
from gs3d.guidance.window import Windowed
from gs3d.priors.base import epsilon

FIRST = 0.001
"""The smallest time, one step of 1000."""
GAP = 0.01
"""Least distance of e below s."""


@dataclass(frozen=True)
class Gcs(Windowed):
    """Two ways down a trajectory should meet, and the end with the prompt should be the render.

    Times e < s < t, s = t − `delta`. From z_e = z0 + σ_e·n the ODE without the prompt leads up to
    z_s and z_t, with one Euler step each. ε̂(z_t), with guidance, leads down to ẑ_s and to ẑ_e. The
    gradient is λ(t)·[C·`consistency` + G·`guidance`],

        C = {z_t + (σ_e − σ_t)·ε̂_∅(z_t) − ẑ_s − (σ_e − σ_s)·ε̂_∅(ẑ_s)}/(1 + σ_e²)
          = {(σ_t − σ_s)·ε̂(z_t) + (σ_s − σ_e)·ε̂_∅(ẑ_s) − (σ_t − σ_e)·ε̂_∅(z_t)}/(1 + σ_e²),
        G = D_∅(z_e) − D(ẑ_e).

    These are the paper's compact consistency and conditional guidance, as its released code
    (LMozart/ECCV2024-GCS-BEG, gcs_utils.py) computes them: by autograd through z with every network
    output held fixed, on √ᾱ·z, from where C has the factor ᾱ_e. Where the prompt changes nothing,
    C pushes data N(m, s²) away from m and G pulls towards it; with guidance, C is mostly
    (σ_t − σ_s)·(ε̂ − ε̂_∅)(z_t), which follows the prompt. tests/guidance tests both signs.

    Left out: the third term, on decoded pixels, because a loss here returns a gradient on latents
    (for a prior on pixels it equals G, with the weight 0.5), and brightness-equalized generation
    (BEG), which is no gradient: where renders are too bright, it scales all colors of the splats
    by 0.8. The code's noise differs between the images of a batch and has a random offset of each
    channel. The paper's own text was not at hand, so equation numbers are missing.
    """

    cfg: Ramp = Ramp(7.5, 7.5)
    """Classifier-free guidance scale of ε̂ and D."""
    delta: Ramp = Ramp(0.1, 0.08)
    """t − s, which falls as the window slides. Times below it are raised to it. e is uniform in
    [t − 2·delta, s − 0.01]."""
    consistency: float = 1.0
    """Weight of C."""
    guidance: float = 0.5
    """Weight of G."""
    noise: NoiseKind = "fixed"
    """Which noise is added: fresh, fixed or surface (`noise.NoiseKind`)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("delta", self.delta.ends, "(0, 0.5]")
        within("consistency", self.consistency, "[0, inf)")
        within("guidance", self.guidance, "[0, inf)")

    def times(self, inputs: Inputs) -> tuple[float, float, float]:
        """e ≤ s < t of this step."""
        delta = self.delta(inputs.progress / self.slide)
        t = min(max(self.time(inputs), delta + FIRST), T_MAX)
        s = t - delta
        low, high = max(s - delta, FIRST), max(s - GAP, FIRST)
        return low + (high - low) * inputs.uniform("e"), s, t

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        (e, s, t), scale = self.times(inputs), self.cfg(inputs.progress)
        at_e, at_s, at_t = (inputs.prior.sigma(u) for u in (e, s, t))
        ze = inputs.z0 + at_e * inputs.noise
        start = inputs.denoised(ze, at_e, 0.0)
        zs = ze + (at_s - at_e) * epsilon(ze, start, at_e)
        zt = zs + (at_t - at_s) * empty_noise(inputs, zs, at_s)
        d, empty = guided_and_empty(inputs, zt, at_t, scale)
        eps, eps_empty = epsilon(zt, d, at_t), epsilon(zt, empty, at_t)
        below = empty_noise(inputs, zt + (at_s - at_t) * eps, at_s)
        c = (at_t - at_s) * eps + (at_s - at_e) * below - (at_t - at_e) * eps_empty
        end = inputs.denoised(zt + (at_e - at_t) * eps, at_e, scale)
        grad = self.consistency / (1 + at_e**2) * c + self.guidance * (start - end)
        grad = weight_of(self.weight, at_t) * grad
        return GuidanceOut(grad, end, {"t": t, "s": s, "e": e, "cfg": scale})
