"""Score Jacobian chaining (Wang et al. 2022, arXiv 2212.00774)."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import Distillation, Inputs, weight_of


@dataclass(frozen=True)
class Sjc(Distillation):
    """The score of noisy copies of the render, chained with the renderer's Jacobian.

    With z_t = z0 + σ_t·n, the gradient is λ(t)·(z0 − D(z_t))/σ_t = λ(t)·(ε̂(z_t) − n). It is that
    of SDS, derived without a loss; what differs is λ, 1 here, and the times.

    From the released code (pals-ttic/sjc, run_sjc.py): σ_t is one of the levels 10 to 969 of the
    1000 of Stable Diffusion, and the score (D − z_t)/σ² is multiplied by σ. The guidance there is
    against the empty prompt, here against the negative prompt, as in all losses. The paper's own
    text was not at hand, so equation numbers are missing.
    """

    t: Ramp = Ramp(0.97, 0.01)
    """Time over the run. With `random_t`, only its ends count."""
    random_t: bool = True
    """Draw the time uniformly between the ends of `t` instead of following it."""
    cfg: Ramp = Ramp(100.0, 100.0)
    """Classifier-free guidance scale."""
    reduce_variance: bool = True
    """Subtract the noise, which leaves the mean of the gradient as it is. False follows the score
    itself, λ(t)·ε̂(z_t)."""

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t, scale = self.time(inputs), self.cfg(inputs.progress)
        sigma = inputs.prior.sigma(t)
        z = inputs.z0 + sigma * inputs.noise
        d = inputs.denoised(z, sigma, scale)
        start = inputs.z0 if self.reduce_variance else z
        grad = weight_of(self.weight, sigma) * (start - d) / sigma
        return GuidanceOut(grad, d, {"t": t, "cfg": scale})
