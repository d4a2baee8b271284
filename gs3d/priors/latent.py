"""Latent-space prior: Stable Diffusion, PixArt, FLUX.1 and models with the same parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from gs3d.core.errors import UserError, shown
from gs3d.priors.images import downsampling, from_network, is_side, to_network
from gs3d.priors.loading.components import Components, Source
from gs3d.priors.network import Network, TextEncoder
from gs3d.priors.text.several import TextEncoders

if TYPE_CHECKING:
    from jaxtyping import Float

    from gs3d.priors.network import Autoencoder

NUMBERS = {"scaling_factor": (1e-3, 1e3), "shift_factor": (-100.0, 100.0)}
"""Range of a setting of an autoencoder."""


def vae_dtype(device: torch.device) -> torch.dtype:
    """Data type of the autoencoder: bfloat16 on a GPU that has it, else float32; never float16.

    The loss is a mean over all latents, so the gradient through the encoder is about 1e-5 per
    element. That is below float16's smallest normal number. Some autoencoders also overflow float16
    in the forward pass. bfloat16 has float32's range, and its rounding of z0 is far below the
    lowest noise that is ever added to z0.
    """
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return torch.bfloat16
    return torch.float32


@dataclass(frozen=True)
class BackwardEncoder:
    """Another autoencoder, whose encoder gives the gradient of `LatentPrior.encode`."""

    vae: Autoencoder
    scale: float
    """Factor from what `vae` encodes to the latents of the prior."""
    source: Source | None = None
    """Where it was loaded from."""

    @staticmethod
    def of(vae: Autoencoder, source: Source) -> BackwardEncoder:
        """From a loaded autoencoder. Raises `UserError` if its configuration has no scale."""
        what = f"vae_backward {source.name}: its scaling_factor"
        return BackwardEncoder(vae, _number(vae, "scaling_factor", what), source)


@dataclass(frozen=True)
class LatentPrior:
    """A network on the latents of an autoencoder. Implements `base.Prior`."""

    source: Source
    network: Network
    text: TextEncoder | TextEncoders
    vae: Autoencoder
    image_size: int
    latent_shape: tuple[int, int, int]
    latent_scale: float
    latent_shift: float
    autoencoder: Source | None = None
    """Where `vae` was loaded from; None for the model's own."""
    backward: BackwardEncoder | None = None
    """What gives the gradient of `encode`; None for `vae` itself, the exact gradient."""

    @staticmethod
    def of(
        parts: Components, checkpoint_encoder: bool = False, autoencoder: Source | None = None
    ) -> LatentPrior:
        """Build the prior.

        `checkpoint_encoder` recomputes the VAE encoder's activations in the backward pass: slower,
        far less memory. `autoencoder` is where `parts.vae` was loaded from, if it is not the
        model's own. Raises `UserError` if the parts do not fit together.
        """
        assert parts.vae is not None  # `load` makes a `PixelPrior` of a model without one.
        own = f"prior {parts.source.name}: the"
        # diffusers gives the entries of a config as attributes too.
        vae = cast(Any, parts.vae.config)
        channels, out, side = parts.family.shape(parts.backbone.config)
        if autoencoder is not None and vae.latent_channels != channels:
            raise UserError(
                f"vae {autoencoder.name}: its latents have {vae.latent_channels} channels, but the "
                f"prior {parts.source.name} takes {channels}; remove `vae` from the config, "
                "or use an autoencoder trained for the latents of this prior"
            )
        if (
            channels != vae.latent_channels
            or out != vae.latent_channels
            or not is_side(side)
            or not is_side(side * downsampling(vae))
        ):
            raise UserError(
                f"prior {parts.source.name}: expected a network on the {vae.latent_channels} "
                f"channels of its vae at a square size, got {channels} in, "
                f"{out} out, size {str(side)[:40]}; "
                "use a text-to-image model, not an inpainting or depth model"
            )
        if checkpoint_encoder:
            if type(parts.vae).__name__ == "AutoencoderTiny":
                raise UserError(
                    "checkpoint_encoder: not supported with an AutoencoderTiny, because diffusers "
                    "then skips its conversion from [-1, 1] to [0, 1]; remove `checkpoint_encoder` "
                    "from the config"
                )
            cast(Any, parts.vae).enable_gradient_checkpointing()
        return LatentPrior(
            source=parts.source,
            network=parts.network(),
            text=parts.text,
            vae=parts.vae,
            image_size=side * downsampling(vae),
            latent_shape=(vae.latent_channels, side, side),
            latent_scale=_number(parts.vae, "scaling_factor", f"{own} scaling_factor of its vae"),
            # Stable Diffusion's config has no shift, or null. The latents of later autoencoders
            # are not centered on zero.
            latent_shift=0.0
            if vae.get("shift_factor") is None
            else _number(parts.vae, "shift_factor", f"{own} shift_factor of its vae"),
            autoencoder=autoencoder,
        )

    @property
    def views(self) -> int:
        return 1

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

    def encode(self, rgb: Float[Tensor, "B H H 3"]) -> Float[Tensor, "B C h w"]:
        """Images in [0, 1] → z0.

        z0 is the mean of the encoder's Gaussian, not a sample. The standard deviation is tiny, and
        a sample would add new noise to z0 in every iteration, which CDS's fixed noise is there to
        avoid.

        With `backward`, z0 is the same, and its gradient is that of the other encoder's latents.
        """
        x = to_network(rgb, self.image_size)
        # One memory layout for resized and other inputs: a compiled encoder would be compiled again
        # for another layout.
        x = x.to(self.vae.dtype, memory_format=torch.contiguous_format)
        if self.backward is None or not (x.requires_grad and torch.is_grad_enabled()):
            return self._latents(x)
        # This encoder first: where a micro-batch is computed again for the backward pass, torch
        # stops after the last tensor that was kept, and so before the large encoder.
        other = self.backward.scale * _mean(self.backward.vae, x)
        with torch.no_grad():
            z = self._latents(x)
        return z + (other - other.detach())

    def _latents(self, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C h w"]:
        return (_mean(self.vae, x) - self.latent_shift) * self.latent_scale

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "B C h w"]) -> Float[Tensor, "B S S 3"]:
        x = (z / self.latent_scale + self.latent_shift).to(self.vae.dtype)
        return from_network(cast(Any, self.vae).decode(x).sample)

    def denoise(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float[Tensor, "B C h w"]:
        return self.network.denoise(z, sigma, text)


def _mean(vae: Autoencoder, x: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B C h w"]:
    """What an autoencoder encodes, float32 and not scaled."""
    encoded = cast(Any, vae.encode(x))
    # AutoencoderTiny has no distribution.
    z = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
    return z.float()


def _number(vae: Autoencoder, key: str, what: str) -> float:
    """A number of an autoencoder's configuration. `UserError`, which begins with `what`, for
    anything else."""
    value, (low, high) = cast(Any, vae).config.get(key), NUMBERS[key]
    if type(value) not in (int, float) or not low <= value <= high:
        raise UserError(
            f"{what} is {shown(value)}; expected a number of {low:g} to {high:g}; "
            "download the model again"
        )
    return float(value)
