"""A prior that works on pixels, folded into channels: no autoencoder between a render and its gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.priors.components import Components, Source
from gs3d.priors.network import Network, TextEncoder
from gs3d.priors.pictures import from_depth, from_network, to_depth, to_network


@dataclass(frozen=True)
class PixelPrior:
    """A U-Net over p×p pixels a position, 3·p² channels. Implements `base.Prior`."""

    source: Source
    network: Network
    text: TextEncoder
    patch: int
    image_size: int

    @staticmethod
    def of(parts: Components) -> "PixelPrior":
        channels, side = parts.unet.config.in_channels, parts.unet.config.sample_size
        patch = round((channels / 3) ** 0.5)
        if 3 * patch**2 != channels or parts.unet.config.out_channels != channels or not isinstance(side, int):
            raise UserError(
                f"prior {parts.source.name}: a U-Net without a VAE must take and give 3·p² channels at a square size, "
                f"got {channels} in, {parts.unet.config.out_channels} out, size {side}"
            )
        return PixelPrior(parts.source, Network(parts.unet, parts.scaling), parts.text, patch, side * patch)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        side = self.image_size // self.patch
        return (3 * self.patch**2, side, side)

    @property
    def device(self) -> torch.device:
        return self.network.unet.device

    @property
    def name(self) -> str:
        return self.source.name

    def sigma(self, t: float) -> float:
        return self.network.scaling.sigma(t)

    def embed(self, prompts: list[str]) -> Tensor:
        return self.text.embed(prompts)

    def free_text_encoder(self) -> None:
        self.text.free()

    def encode(self, rgb: Tensor) -> Tensor:
        """[B, H, H, 3] → [B, 3·p², S/p, S/p]; orthogonal but for the resizing, so white noise on z is white noise on the pixels."""
        return to_depth(to_network(rgb, self.image_size), self.patch)

    def decode(self, z: Tensor) -> Tensor:
        return from_network(from_depth(z, self.patch))

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        return self.network.denoise(z, sigma, text)
