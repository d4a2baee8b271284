"""The two halves that every diffusers prior has: a denoising network with its scalings, and a text encoder with its tokenizer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.priors.scalings import Scaling

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        AutoencoderTiny,
        SD3Transformer2DModel,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, PreTrainedTokenizerBase

Attention = Literal["sdpa", "xformers"]


def predict(
    backbone: "UNet2DConditionModel | SD3Transformer2DModel", x: Tensor, time: Tensor, text: Tensor
) -> Tensor:
    """Either network called its own way: x [B, C, h, w], time [B], text [B, L, E] → [B, C, h, w].

    The transformer also wants one vector for the whole text, which is the last state (`encode`).
    """
    if "pooled_projection_dim" in backbone.config:
        return backbone(
            x,
            encoder_hidden_states=text,
            pooled_projections=text[:, -1],
            timestep=time,
            return_dict=False,
        )[0]
    return backbone(x, time, text, return_dict=False)[0]


def encode(encoder: "CLIPTextModel", tokens: Tensor) -> Tensor:
    """The text as a network sees it, tokens [B, L] → [B, L, E]: the encoder's last hidden state.

    An encoder with `sum_at_padding` in its config has, in the place of all padding, the sum of the true tokens' states over √n. It names
    every word from the first step of training on. The state of the last position, which is what the transformer takes for the whole text,
    says almost nothing of the words until a causal encoder has learnt to look at them through the padding.
    """
    hidden = encoder(tokens).last_hidden_state
    if not getattr(encoder.config, "sum_at_padding", False):
        return hidden
    true = (tokens != encoder.config.pad_token_id)[..., None]
    whole = (hidden * true).sum(dim=1, keepdim=True) / true.sum(dim=1, keepdim=True).sqrt()
    kept = true.clone()
    kept[:, -1] = (
        False  # the transformer reads the whole text there, even when there was no padding
    )
    return hidden.where(kept, whole)


@dataclass(frozen=True)
class Network:
    """D(z, σ, y) = c_skip·z + c_out·net(c_in·z, c_noise, y)."""

    backbone: "UNet2DConditionModel | SD3Transformer2DModel"
    scaling: Scaling

    @torch.no_grad()
    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        """z [B, C, h, w], sigma [B], text [B, L, E] → D [B, C, h, w], float32.

        The scaled input goes in at the weights' precision; the sum with z, which is large at high σ, is taken in float32. The time
        stays float32, because a table's index of 999.5 or a ln σ / 4 near zero would lose its meaning in half precision.
        """
        s = self.scaling
        sigma = sigma.float()
        wide = sigma[:, None, None, None]
        dtype = self.backbone.dtype
        out = predict(self.backbone, (s.c_in(wide) * z).to(dtype), s.c_noise(sigma), text.to(dtype))
        return s.c_skip(wide) * z + s.c_out(wide) * out.float()


class TextEncoder:
    """Prompts → embeddings, as the network saw them in training: padded to the full length, as `encode` says."""

    def __init__(self, model: "CLIPTextModel", tokenizer: "PreTrainedTokenizerBase"):
        self.model: CLIPTextModel | None = model
        self.tokenizer = tokenizer
        # A tokenizer that names no length says 1e30; the encoder's positions are the true limit.
        self.max_tokens = min(tokenizer.model_max_length, model.config.max_position_embeddings)

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Tensor:
        """[P, L, E] float32. No attention mask: Stable Diffusion and the built-in prior were both trained without one."""
        if self.model is None:
            raise RuntimeError(
                "embed: the text encoder was freed by free_text_encoder(); embed all prompts first, or load the prior again"
            )
        tokens = self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        return encode(self.model, tokens.input_ids.to(self.model.device)).float()

    def free(self) -> None:
        """Drop the weights; the tokenizer stays."""
        self.model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def use_attention(
    backbone: "UNet2DConditionModel | SD3Transformer2DModel", attention: Attention
) -> None:
    """sdpa is what diffusers does by itself; xformers replaces the attention processors of the network."""
    if attention == "sdpa":
        return
    try:
        import xformers.ops  # noqa: F401 - asked for here only to see whether it is there
    except ImportError:
        raise UserError(
            "attention xformers: the package xformers is not installed; "
            "install it with `pip install xformers` (it needs the torch version it was built for), or set `attention: sdpa` in the config"
        ) from None
    try:
        backbone.enable_xformers_memory_efficient_attention()
    except (ImportError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"attention xformers: it does not work on this machine ({reason}); set `attention: sdpa` in the config"
        ) from error


def compile_networks(
    backbone: "UNet2DConditionModel | SD3Transformer2DModel",
    vae: "AutoencoderKL | AutoencoderTiny | None",
) -> None:
    """Has torch compile what an iteration calls, the network and the encoder, at their first call, for the sizes that it has there.

    `UserError` where this Python has no compiler of torch's; what else is in the way shows at the first call.
    """
    try:
        backbone.compile(dynamic=False)
        if vae is not None:
            vae.encoder.compile(dynamic=False)
    except RuntimeError as error:
        raise UserError(
            f"compile: {' '.join(str(error).split())[:200]}; leave `compile` out of the config"
        ) from error
