"""A prior that works on the latents of an autoencoder: Stable Diffusion 1.5, 2.1-base, 2.1 and their like."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.priors.images import from_network, to_network
from gs3d.priors.loading.components import Components, Source
from gs3d.priors.network import Network, TextEncoder

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderTiny


def vae_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU that has it, float32 anywhere else; never float16.

    The loss is a mean over all latents, so the gradient that comes back through the encoder is of the order of 1e-5 an element, below
    float16's smallest normal number, and some autoencoders overflow float16 on the way in as well. bfloat16 has float32's range; its
    rounding of z0 is far below the least noise that is ever added to it.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float32


@dataclass(frozen=True)
class LatentPrior:
    """A network over an autoencoder's latents. Implements `base.Prior`."""

    source: Source
    network: Network
    text: TextEncoder
    vae: "AutoencoderKL | AutoencoderTiny"
    image_size: int
    latent_shape: tuple[int, int, int]
    latent_scale: float
    latent_shift: float
    autoencoder: Source | None = None
    """Where `vae` came from, if it is not the model's own."""
    views: ClassVar[int] = 1

    @staticmethod
    def of(
        parts: Components, checkpoint_encoder: bool = False, autoencoder: Source | None = None
    ) -> "LatentPrior":
        """`checkpoint_encoder` computes the VAE encoder's activations again in the backward pass: slower, far less memory. `autoencoder`
        is where `parts.vae` is from, if not from the model itself."""
        net, vae = parts.backbone.config, parts.vae.config
        if autoencoder is not None and vae.latent_channels != net.in_channels:
            raise UserError(
                f"vae {autoencoder.name}: gives latents of {vae.latent_channels} channels, and the prior {parts.source.name} "
                f"takes {net.in_channels}; leave `vae` out of the config, or name one that was trained for this prior's latents"
            )
        if (
            net.in_channels != vae.latent_channels
            or net.out_channels != vae.latent_channels
            or not isinstance(net.sample_size, int)
        ):
            raise UserError(
                f"prior {parts.source.name}: expected a network over the {vae.latent_channels} channels of its VAE at a square size, "
                f"got {net.in_channels} in, {net.out_channels} out, size {net.sample_size}; "
                "inpainting and depth models are not text-to-image"
            )
        if checkpoint_encoder:
            if type(parts.vae).__name__ == "AutoencoderTiny":
                raise UserError(
                    "checkpoint_encoder: not with a tiny autoencoder, for which diffusers then leaves out the step from [-1, 1] to [0, 1]; "
                    "leave it out of the config"
                )
            parts.vae.enable_gradient_checkpointing()
        side = net.sample_size
        return LatentPrior(
            source=parts.source,
            network=Network(parts.backbone, parts.scaling),
            text=parts.text,
            vae=parts.vae,
            image_size=side * _downsampling(parts.vae),
            latent_shape=(vae.latent_channels, side, side),
            latent_scale=float(vae.scaling_factor),
            # Stable Diffusion's configuration holds no shift, or null; later autoencoders' latents are not centered on zero.
            latent_shift=float(vae.get("shift_factor") or 0.0),
            autoencoder=autoencoder,
        )

    @property
    def device(self) -> torch.device:
        return self.network.backbone.device

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
        """[B, H, H, 3] → z0 [B, C, h, w].

        The mean of the encoder's Gaussian, not a draw from it: its spread is tiny, and a draw would put fresh noise on z0 every
        iteration, which is the very thing that CDS's fixed noise is there to avoid.
        """
        x = to_network(rgb, self.image_size)
        # Of one layout, resized or not: an encoder that is compiled would be compiled once more for another.
        encoded = self.vae.encode(x.to(self.vae.dtype, memory_format=torch.contiguous_format))
        z = (
            encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        )  # AutoencoderTiny has no distribution
        return (z.float() - self.latent_shift) * self.latent_scale

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        x = (z / self.latent_scale + self.latent_shift).to(self.vae.dtype)
        return from_network(self.vae.decode(x).sample)

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        return self.network.denoise(z, sigma, text)


def _downsampling(vae: "AutoencoderKL | AutoencoderTiny") -> int:
    """Pixels a latent: a factor of two between one level and the next."""
    levels = vae.config.get("block_out_channels") or vae.config.encoder_block_out_channels
    return 2 ** (len(levels) - 1)
