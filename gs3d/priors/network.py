# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false
# diffusers exports its classes lazily, and diffusers and transformers have no complete types.
"""Parts of a diffusers prior: denoising network with its scaling, text encoder with tokenizer.

For models with several text encoders see `text.several`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.priors.scalings import Scaling
from gs3d.priors.text.several import FREED, Encoder, token_limit

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        AutoencoderTiny,
        FluxTransformer2DModel,
        PixArtTransformer2DModel,
        SD3Transformer2DModel,
        UNet2DConditionModel,
    )
    from jaxtyping import Float, Float32, Int
    from transformers import CLIPTextModel, PreTrainedTokenizerBase

    from gs3d.priors.plain.transformer import Transformer

    Backbone = (
        UNet2DConditionModel
        | SD3Transformer2DModel
        | PixArtTransformer2DModel
        | FluxTransformer2DModel
        | Transformer
    )
    Autoencoder = AutoencoderKL | AutoencoderTiny

Attention = Literal["sdpa", "xformers"]


def predict(
    backbone: Any,
    x: Float[Tensor, "B C h w"],
    time: Float[Tensor, " B"],
    text: Float[Tensor, "B L E"],
    image_size: int = 0,
) -> Float[Tensor, "B C h w"]:
    """Call a U-Net that takes the text alone. `families` has the calls of other networks."""
    return backbone(x, time, text.to(x.dtype), return_dict=False)[0]


def encode(encoder: CLIPTextModel, tokens: Int[Tensor, "P L"]) -> Float[Tensor, "P L E"]:
    """Text embeddings for the network: the last hidden state.

    If the encoder's config has `sum_at_padding`, every padding position holds the sum of the states
    of the n real tokens, divided by √n. This sum depends on every word from the first training step
    on. The state of the last position, which the transformer takes as the pooled text, carries
    almost nothing about the words until a causal encoder has learned to attend to them through the
    padding.
    """
    hidden = encoder(tokens).last_hidden_state
    if not getattr(encoder.config, "sum_at_padding", False):
        return hidden
    real = (tokens != encoder.config.pad_token_id)[..., None]
    pooled = (hidden * real).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True).sqrt()
    kept = real.clone()
    # The transformer reads the pooled text there, even if the text has no padding.
    kept[:, -1] = False
    return hidden.where(kept, pooled)


@dataclass(frozen=True)
class Network:
    """The denoiser D(z, σ, y) = c_skip·z + c_out·net(c_in·z, c_noise, y)."""

    backbone: Backbone
    scaling: Scaling
    predict: Callable[[Any, Tensor, Tensor, Tensor, int], Tensor] = predict
    """How `backbone` is called; see `families.base.Family.predict`."""
    image_size: int = 0
    """Side in pixels of the images, which some networks are told."""

    @torch.no_grad()
    def denoise(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float32[Tensor, "B C h w"]:
        """D(z, σ, y), without gradient."""
        return self.differentiable(z, sigma, text)

    def differentiable(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float32[Tensor, "B C h w"]:
        """D(z, σ, y), with gradient where torch's mode and the weights have it.

        The network runs in the precision of its weights. The sum with z, which is large at high σ,
        is float32. The time stays float32 too, because half precision is too coarse for a table
        index such as 999.5 or for ln σ / 4 near zero. Channels beyond those of z, a learned
        variance, are left out.
        """
        scaling, dtype = self.scaling, self.backbone.dtype
        sigma = sigma.float()
        sigma_b = sigma[:, None, None, None]
        x, time = (scaling.c_in(sigma_b) * z).to(dtype), scaling.c_noise(sigma)
        out = self.predict(self.backbone, x, time, text.float(), self.image_size)
        out = out[:, : z.shape[1]].float()
        return scaling.c_skip(sigma_b) * z + scaling.c_out(sigma_b) * out


class TextEncoder:
    """Prompts → embeddings, padded to full length as in training (see `encode`)."""

    pooled_width = 0

    def __init__(self, model: CLIPTextModel, tokenizer: PreTrainedTokenizerBase):
        self.model: CLIPTextModel | None = model
        self.tokenizer = tokenizer
        self.max_tokens = token_limit(model, tokenizer)

    @property
    def encoders(self) -> tuple[Encoder, ...]:
        """The one encoder; none after `free`."""
        if self.model is None:
            return ()
        model, tokenizer = self.model, self.tokenizer
        return (Encoder("text_encoder", model, tokenizer, self.max_tokens, _read),)

    def embed(self, prompts: list[str]) -> Float32[Tensor, "P L E"]:
        """Embeddings of P prompts. Raises RuntimeError after `free`."""
        if not self.encoders:
            raise RuntimeError(FREED)
        return self.encoders[0].outputs(prompts)[0].float()

    def free(self) -> None:
        """Release the memory of the weights; the tokenizer stays."""
        self.model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _read(encoder: CLIPTextModel, tokens: Int[Tensor, "P L"], mask: Tensor) -> tuple[Tensor, ...]:
    """`encode` for a `text.several.Encoder`; the padding is read too."""
    return (encode(encoder, tokens),)


def use_attention(backbone: Backbone, attention: Attention) -> None:
    """Select the attention of the network: sdpa is diffusers' default, xformers replaces it.

    Raises `UserError` if xformers is not installed or does not work on this machine.
    """
    if attention == "sdpa":
        return
    try:
        importlib.import_module("xformers.ops")
    except ImportError:
        raise UserError(
            "attention xformers: the package xformers is not installed; install it with "
            "`pip install xformers` (it needs the torch version that it was built for), "
            "or set `attention: sdpa` in the config"
        ) from None
    try:
        cast(Any, backbone).enable_xformers_memory_efficient_attention()
    except (ImportError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"attention xformers: does not work on this machine ({reason}); "
            "set `attention: sdpa` in the config"
        ) from error


def compile_networks(backbone: Backbone, *autoencoders: Autoencoder | None) -> None:
    """Mark the network and the encoders for compilation by torch at their first call.

    They are compiled for the input sizes of that call. Weights of convolutions are laid out with
    channels last. torch's compiler gives most convolutions that layout, and would convert other
    weights in every call.
    Raises `UserError` if torch.compile does not
    support this Python; all other compiler errors are raised by the first call.
    """
    try:
        # torch's types have no `memory_format` here.
        cast(Any, backbone).to(memory_format=torch.channels_last)
        backbone.compile(dynamic=False)
        for vae in autoencoders:
            if vae is not None:
                cast(Any, vae).to(memory_format=torch.channels_last)
                vae.encoder.compile(dynamic=False)
    except RuntimeError as error:
        raise UserError(
            f"compile: {' '.join(str(error).split())[:200]}; remove `compile` from the config"
        ) from error
