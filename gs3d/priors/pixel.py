"""Pixel-space prior: no autoencoder between a render and its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.priors.images import from_network, is_side, to_network
from gs3d.priors.loading.components import Components, Source
from gs3d.priors.network import Network, TextEncoder
from gs3d.priors.text.several import TextEncoders

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class PixelPrior:
    """A network on RGB pixels. Implements `base.Prior`."""

    source: Source
    network: Network
    text: TextEncoder | TextEncoders
    image_size: int

    @staticmethod
    def of(parts: Components) -> PixelPrior:
        """Build the prior. Raises `UserError` if the network is not one on square RGB images."""
        channels, out, side = parts.family.shape(parts.backbone.config)
        if (channels, out) != (3, 3) or not is_side(side):
            raise UserError(
                f"prior {parts.source.name}: expected a model without a VAE to have 3 channels in, "
                f"3 out and a square size, got {channels} in, {out} out, "
                f"size {str(side)[:40]}; use another model"
            )
        return PixelPrior(parts.source, parts.network(), parts.text, side)

    @property
    def views(self) -> int:
        return 1

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return (3, self.image_size, self.image_size)

    @property
    def device(self) -> torch.device:
        return self.network.backbone.device

    @property
    def name(self) -> str:
        return self.source.name

    def sigma(self, t: float) -> float:
        return self.network.scaling.sigma(t)

    def embed(self, prompts: list[str]) -> Float[Tensor, "P L E"]:
        return self.text.embed(prompts).to(self.device)

    def free_text_encoder(self) -> None:
        self.text.free()

    def encode(self, rgb: Float[Tensor, "B H H 3"]) -> Float[Tensor, "B 3 S S"]:
        """Values in [0, 1] → values in [−1, 1], where S is `image_size`."""
        return to_network(rgb, self.image_size)

    def decode(self, z: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B S S 3"]:
        return from_network(z)

    def denoise(
        self,
        z: Float[Tensor, "B 3 S S"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float[Tensor, "B 3 S S"]:
        return self.network.denoise(z, sigma, text)
