"""Variational score distillation (ProlificDreamer, arXiv 2305.16213)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.guidance.base import GuidanceOut
from gs3d.guidance.distillation import Distillation, Inputs, Weight, weight_of
from gs3d.priors.adapter import LoraModel, LoraSettings
from gs3d.priors.adapter.model import Target
from gs3d.priors.base import Prior, epsilon

if TYPE_CHECKING:
    from jaxtyping import Float

Denoiser = Callable[[Tensor], Tensor]
"""z [B, C, h, w] → the estimate of z0, at one noise level."""


def score_difference(
    z: Float[Tensor, "B C h w"], sigma: float, of_data: Denoiser, of_renders: Denoiser
) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C h w"]]:
    """ε̂ − ε̂_φ at `z`, the integrand of Eq. 9, and the estimate of z0 by `of_data`.

    It is σ times the difference of the scores of the noisy renders and of the noisy data, so it
    vanishes where the renders are distributed as the data are.
    """
    target = of_data(z)
    return epsilon(z, target, sigma) - epsilon(z, of_renders(z), sigma), target


@dataclass(frozen=True)
class Vsd(Distillation):
    """Gradient λ(t)·(ε̂ − ε̂_φ), with ε̂_φ learned from the renders (Eq. 9 and Algorithm 1).

    ε̂_φ is the prior itself with a LoRA that is told the camera, and has no guidance. It is trained
    beside the splats, on each iteration's renders: ‖ε̂_φ(z0 + σn, y, camera) − n‖² (Eq. 10), at
    times uniform in (0, 1). It starts as the prior, so that at first the gradient is that of
    guidance alone. A new stage of a run starts a new one, because its renders look different.

    Each iteration evaluates the prior with and without the prompt, the LoRA once, and the LoRA with
    its backward pass once for each of `lora_steps`. Without a model, outside a run, the renders are
    taken for the only ones there are: ε̂_φ is n, and the gradient that of SDS (Sec. 3.3).

    Defaults are those of the paper and its released code, with these differences: the LoRA is added
    to the prior itself (the code adds it to Stable Diffusion 2.1, which predicts v, and takes 2.1
    base for ε̂), it reads the words of the view direction too, it sees all views of a batch instead
    of one, and its rate does not rise over the first 500 iterations. As in the code, one object is
    the default; `--particles` makes several, which take turns where the paper draws one. Settings
    as in the appendix of the paper were not checked against the paper's text.
    """

    t: Ramp = Ramp(0.98, 0.02)
    """Time over the run. With `random_t`, only its ends count."""
    random_t: bool = True
    """Draw the time uniformly; False anneals it along `t`."""
    narrow_t: tuple[float, float] | None = (0.2, 0.5)
    """(progress, time): from that progress on, random times are at most that time. The paper's are
    after 5,000 of 25,000 iterations. None never narrows them."""
    cfg: Ramp = Ramp(7.5, 7.5)
    """Classifier-free guidance scale of ε̂."""
    weight: Weight = "sigma2"
    """λ(t)."""
    lora_rank: int = 4
    """Rank of the LoRA, in each layer of the network's attention."""
    lora_rate: float = 1e-4
    """Learning rate of the LoRA and of the camera embedding, with AdamW. 0 never trains them."""
    lora_steps: int = 1
    """Steps of AdamW in each iteration, each with other noise and times."""
    lora_target: Target = "network"
    """What the error is measured in while the LoRA learns: what the network predicts, epsilon as in
    Eq. 10, or v as in the released code. They differ by a weight that depends on the time."""
    camera_dropout: float = 0.1
    """Probability of a step of the LoRA in which the cameras are not told."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("lora_rank", self.lora_rank, "[1, inf)")
        within("lora_rate", self.lora_rate, "[0, inf)")
        within("lora_steps", self.lora_steps, "[1, inf)")
        within("camera_dropout", self.camera_dropout, "[0, 1]")

    @property
    def model_evaluations(self) -> float:
        """What the LoRA takes of each view, in evaluations of the prior with and without the
        prompt: one forward pass, or two for `pairs`, and one of training, forward and backward, for
        each step."""
        return (1.0 if self.pairs else 0.5) + 1.5 * self.lora_steps

    def new_model(self, prior: Prior, seed: int) -> LoraModel:
        """The LoRA at the start of a stage. `UserError` if `prior` cannot have one."""
        settings = LoraSettings(
            self.lora_rank,
            self.lora_rate,
            self.lora_steps,
            self.camera_dropout,
            self.lora_target,
        )
        return LoraModel(prior, settings, seed, "--guidance vsd")

    def gradient(self, inputs: Inputs) -> GuidanceOut:
        t, scale = self.time(inputs), self.cfg(inputs.progress)
        sigma = inputs.prior.sigma(t)
        z = inputs.z0 + sigma * inputs.noise

        def of_renders(z: Tensor) -> Tensor:
            if inputs.model is None or inputs.cameras is None:
                return inputs.z0
            text = inputs.condition.text
            return inputs.model.denoise(z, z.new_full((len(z),), sigma), text, inputs.cameras)

        difference, target = score_difference(
            z, sigma, lambda z: inputs.denoised(z, sigma, scale), of_renders
        )
        grad = weight_of(self.weight, sigma) * difference
        return GuidanceOut(grad, target, {"t": t, "cfg": scale})
