"""The interface between a prior and the rest of gs3d, and classifier-free guidance on top of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Condition:
    """Text embeddings for a batch of B views."""

    text: Float[Tensor, "B L E"]
    """Embeddings of the prompt with the direction words of each view."""
    negative: Float[Tensor, "B L E"]
    """Embeddings of the negative prompt, or of the empty prompt."""
    empty: Float[Tensor, "B L E"] | None = None
    """Embeddings of the empty prompt; None if `negative` has them."""
    wrong: Float[Tensor, "K B L E"] | None = None
    """Embeddings of the prompt with the words of K other view directions, for Perp-Neg; None
    without it."""
    wrong_weights: Float[Tensor, "K B"] | None = None
    """How much each view is turned away from them, 0 or more."""


class Prior(Protocol):
    """A text-to-image diffusion model: z = z0 + σ·n, float32 at the interface.

    Any object with these members drives a run; it need not inherit from this class. Internally it
    may compute in another precision.

    These members are optional. gs3d uses them if the object has them:

    - `text`, a `network.TextEncoder` or `text.several.TextEncoders` of `gs3d.priors`: its tokenizer
      lets `ViewPrompts` warn about unknown words, shorten long prompts, and choose exact view
      directions and a default negative prompt. Without it, `ViewPrompts` passes the prompt to
      `embed` unchanged, with the rough view words of `core.views.words.VIEW_WORDS` and an empty
      negative prompt.
    - `exact_views`: False gives the rough view words to a prior whose vocabulary has exact ones.
    - `with_cameras(text, cameras)`: embeddings [B, L, E] of `embed`, and the `core.cameras.Cameras`
      of B views, on any device → the text that `denoise` takes, with the cameras in it.
      `ViewPrompts` calls it, also for the negative prompt, and adds no view words to the prompt.
    - `free_text_encoder()`: releases the memory of the text encoder. A run calls it after it has
      embedded all prompts.
    - `source`, a `gs3d.priors.loading.components.Source`, with `network` and, if it is not the
      model's own, `autoencoder`: the model folder that `describe` names and hashes for run.yaml.
      Without `source`, `describe` gives the name alone.
    - `decode(z)`: z [B, C, h, w] → images [B, image_size, image_size, 3] in [0, 1], float32. No run
      calls it. scripts/sample_prior.py and scripts/score_prior.py need it to show samples.
    """

    if TYPE_CHECKING:
        # Read-only for type checkers, so that frozen dataclasses and properties match.

        @property
        def name(self) -> str:
            """Name for messages and for run.yaml."""
            ...

        @property
        def image_size(self) -> int:
            """Side in pixels of the square images that the model takes.

            `encode` resizes other sizes."""
            ...

        @property
        def latent_shape(self) -> tuple[int, int, int]:
            """(C, h, w) of z; for a model on pixels (3, image_size, image_size)."""
            ...

        @property
        def views(self) -> int:
            """Number of views denoised jointly: 1, or 4 for a multi-view model.

            With 4, every batch is a multiple of 4, and rows 4k to 4k + 3 are the views of one
            group, in the order of `core.cameras.sample_cameras`.
            """
            ...

        @property
        def device(self) -> torch.device:
            """Where the model computes. Arguments and results of all methods are on it."""
            ...

    else:
        # Plain attributes at run time, so that a subclass can assign to them.
        name: str
        image_size: int
        latent_shape: tuple[int, int, int]
        views: int
        device: torch.device

    def sigma(self, t: float) -> float:
        """Noise level at time t in [0, 1], a fraction of the model's training steps."""
        ...

    def embed(self, prompts: list[str]) -> Float[Tensor, "P L E"]:
        """Text embeddings of P prompts, L tokens each."""
        ...

    def encode(self, rgb: Float[Tensor, "B H H 3"]) -> Float[Tensor, "B C h w"]:
        """Square images in [0, 1] → z0, float32, differentiable."""
        ...

    def denoise(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float[Tensor, "B C h w"]:
        """D(z, σ, y), the estimate of z0, without gradient."""
        ...


@torch.no_grad()
def guided(
    prior: Prior,
    z: Float[Tensor, "B C h w"],
    sigma: float | Float[Tensor, " B"],
    condition: Condition,
    scale: float,
) -> Float[Tensor, "B C h w"]:
    """Classifier-free guidance: D_neg + scale · (D_text − D_neg), with D_text as in `estimates`.

    `scale` 1 is the plain conditional model, and 0 the one with the empty prompt, neither positive
    nor negative. These two cost half as much (Ho & Salimans 2022). Papers that write
    ε_text + s·(ε_text − ε_∅) mean scale = s + 1. `sigma` is one level for all views, or one for
    each view.
    """
    if scale in (0.0, 1.0):
        empty = condition.negative if condition.empty is None else condition.empty
        return prior.denoise(z, _levels(sigma, z), condition.text if scale else empty)
    negative, text = estimates(prior, z, sigma, condition)
    return negative + scale * (text - negative)


@torch.no_grad()
def estimates(
    prior: Prior,
    z: Float[Tensor, "B C h w"],
    sigma: float | Float[Tensor, " B"],
    condition: Condition,
) -> tuple[Float[Tensor, "B C h w"], Float[Tensor, "B C h w"]]:
    """D_neg and D_text, from one batch of twice the size.

    With `Condition.wrong`, D_text is turned away from the wrong views, and the batch is 2 + K times
    the size. That is Perp-Neg (Armandpour et al. 2023, Eq. 6): of D_wrong − D_neg, only the part
    perpendicular to D_text − D_neg is subtracted, so that the wrong view goes and the object stays.
    """
    texts = [condition.negative, condition.text]
    if condition.wrong is not None:
        texts += condition.wrong.unbind()
    count = len(texts)
    denoised = prior.denoise(
        z.repeat(count, 1, 1, 1), _levels(sigma, z).repeat(count), torch.cat(texts)
    )
    negative, text, *wrong = denoised.chunk(count)
    if condition.wrong_weights is not None:
        toward = text - negative
        for other, weight in zip(wrong, condition.wrong_weights, strict=True):
            text = text - weight[:, None, None, None] * _perpendicular(other - negative, toward)
    return negative, text


def _perpendicular(
    x: Float[Tensor, "B C h w"], to: Float[Tensor, "B C h w"]
) -> Float[Tensor, "B C h w"]:
    """The part of each image of `x` that is perpendicular to that of `to`."""
    along = (x * to).sum((1, 2, 3), keepdim=True)
    return x - along / to.square().sum((1, 2, 3), keepdim=True).clamp_min(1e-12) * to


def _levels(sigma: float | Tensor, z: Tensor) -> Tensor:
    """`sigma` for each of the B images of `z`."""
    if isinstance(sigma, Tensor):
        return sigma.to(z.device, torch.float32).expand(z.shape[0])
    # A number that is copied to a GPU would wait for it.
    return torch.full((z.shape[0],), sigma, dtype=torch.float32, device=z.device)


def epsilon(
    z: Float[Tensor, "B C h w"],
    denoised: Float[Tensor, "B C h w"],
    sigma: float | Float[Tensor, "B 1 1 1"],
) -> Float[Tensor, "B C h w"]:
    """Noise estimate ε̂ = (z − D) / σ."""
    return (z - denoised) / sigma
