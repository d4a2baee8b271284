"""What a prior is to everything else: one function D(z, σ, y), the way into its space, and guidance on top of it."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Condition:
    """What B views are asked to show."""

    text: Tensor
    """[B, L, E] embeddings of the prompt with the words for each view."""
    negative: Tensor
    """[B, L, E] embeddings of the negative prompt, or of the empty one."""


class Prior(Protocol):
    """A text-to-image diffusion model seen from outside: float32, z = z0 + σ·n, whatever happens within."""

    name: str
    image_size: int
    """Side in pixels of the square pictures `encode` takes; other sizes are resized to it."""
    latent_shape: tuple[int, int, int]
    """(C, h, w) of z."""
    views: int
    """Views that it looks at together: 1, or 4 whose cameras stand as `core.cameras.sample_cameras` groups them, B a multiple of it."""

    def sigma(self, t: float) -> float:
        """Noise level at time t in [0, 1], a fraction of the model's training steps."""
        ...

    def embed(self, prompts: list[str]) -> Tensor:
        """[P, L, E] text embeddings."""
        ...

    def encode(self, rgb: Tensor) -> Tensor:
        """Pictures [B, H, W, 3] in [0, 1] → z0 [B, C, h, w] float32; differentiable."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """z [B, C, h, w] → pictures [B, image_size, image_size, 3] in [0, 1], float32."""
        ...

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """D(z, σ, y): z [B, C, h, w], sigma [B], text [B, L, E] → [B, C, h, w]. No gradient flows."""
        ...


@torch.no_grad()
def guided(
    prior: Prior, z: Tensor, sigma: float | Tensor, condition: Condition, scale: float
) -> Tensor:
    """Classifier-free guidance, the only one in gs3d: D_neg + scale · (D_text − D_neg), [B, C, h, w].

    `scale` 1 is the plain conditional model, which then costs one evaluation instead of two (Ho & Salimans 2022; papers that write
    ε_text + s·(ε_text − ε_∅) mean scale = s + 1). `sigma` is one level for all or one a view, [B].
    """
    sigmas = torch.as_tensor(sigma, dtype=torch.float32, device=z.device).expand(z.shape[0])
    if scale == 1.0:
        return prior.denoise(z, sigmas, condition.text)
    both = prior.denoise(
        z.repeat(2, 1, 1, 1), sigmas.repeat(2), torch.cat([condition.negative, condition.text])
    )
    negative, text = both.chunk(2)
    return negative + scale * (text - negative)


def epsilon(z: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """ε̂ = (z − D) / σ."""
    return (z - denoised) / sigma
