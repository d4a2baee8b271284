"""The two halves that every diffusers prior has: a U-Net with its scalings, and a text encoder with its tokenizer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.priors.scalings import Scaling

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, PreTrainedTokenizerBase

Attention = Literal["sdpa", "xformers"]


@dataclass(frozen=True)
class Network:
    """D(z, σ, y) = c_skip·z + c_out·net(c_in·z, c_noise, y)."""

    unet: "UNet2DConditionModel"
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
        dtype = self.unet.dtype
        out = self.unet((s.c_in(wide) * z).to(dtype), s.c_noise(sigma), text.to(dtype), return_dict=False)[0]
        return s.c_skip(wide) * z + s.c_out(wide) * out.float()


class TextEncoder:
    """Prompts → embeddings, as the U-Net saw them in training: padded to the full length, the last hidden state."""

    def __init__(self, model: "CLIPTextModel", tokenizer: "PreTrainedTokenizerBase"):
        self.model: CLIPTextModel | None = model
        self.tokenizer = tokenizer
        # A tokenizer that names no length says 1e30; the encoder's positions are the true limit.
        self.max_tokens = min(tokenizer.model_max_length, model.config.max_position_embeddings)

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Tensor:
        """[P, L, E] float32. No attention mask: Stable Diffusion and the built-in prior were both trained without one."""
        if self.model is None:
            raise RuntimeError("embed: the text encoder was freed by free_text_encoder(); embed all prompts first, or load the prior again")
        tokens = self.tokenizer(prompts, padding="max_length", truncation=True, max_length=self.max_tokens, return_tensors="pt")
        return self.model(tokens.input_ids.to(self.model.device)).last_hidden_state.float()

    def free(self) -> None:
        """Drop the weights; the tokenizer stays."""
        self.model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def use_attention(unet: "UNet2DConditionModel", attention: Attention) -> None:
    """sdpa is what diffusers does by itself; xformers replaces the processors of the U-Net."""
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
        unet.enable_xformers_memory_efficient_attention()
    except (ImportError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"attention xformers: it does not work on this machine ({reason}); set `attention: sdpa` in the config") from None
