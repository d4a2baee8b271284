"""Stable Diffusion XL: a U-Net with two CLIPs (Podell et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gs3d.core.errors import UserError, shown
from gs3d.priors.families.base import (
    AUTOENCODERS,
    CLIP,
    CLIP_WITH_POOLED,
    TEXT_ENCODERS,
    UNET,
    AnyText,
    Config,
    Family,
    TextParts,
    Width,
    class_of,
    clips,
    numbers,
)
from gs3d.priors.text.packing import unpack
from gs3d.priors.text.several import TextEncoders, combine_xl

if TYPE_CHECKING:
    from jaxtyping import Float

SIZES = 6
"""Number of sizes that the network is told beside the pooled text."""


def _recognizes(index: Config) -> bool:
    # A part that a pipeline can have, and this model does not, has null in place of its class.
    several = any(part in index for part in TEXT_ENCODERS[1:])
    return several and bool(class_of(index, "unet"))


def _pooled_width(network: Config) -> int:
    sizes = SIZES * int(network.get("addition_time_embed_dim") or 0)
    return int(network.get("projection_class_embeddings_input_dim") or 0) - sizes


def predict(
    backbone: Any,
    x: Float[Tensor, "B C h w"],
    time: Float[Tensor, " B"],
    text: Float[Tensor, "B L E"],
    image_size: int,
) -> Float[Tensor, "B C h w"]:
    """Call the U-Net with the pooled text, and with sizes in pixels: those of a training image of
    `image_size`² that was neither enlarged nor cropped."""
    states, pooled = unpack(text.to(x.dtype), _pooled_width(backbone.config))
    # Original size, left and upper border that were cropped, size in the batch.
    sizes = torch.tensor([image_size, image_size, 0, 0, image_size, image_size], device=x.device)
    added = {"text_embeds": pooled, "time_ids": sizes.expand(len(x), -1)}
    return backbone(x, time, states, added_cond_kwargs=added, return_dict=False)[0]


def _text(parts: TextParts) -> AnyText:
    return TextEncoders(clips(parts), combine_xl, _zeroes_empty(parts))


def _zeroes_empty(parts: TextParts) -> bool:
    """Whether zeros stand for the empty prompt. Without the setting they do, as in diffusers."""
    value = parts.index.get(key := "force_zeros_for_empty_prompt", True)
    if type(value) is not bool:
        raise UserError(
            f"prior {parts.name}: its model_index.json has {key} {shown(value)}; "
            "expected true or false; correct it or use another model"
        )
    return value


def _widths(network: Config, text: AnyText) -> list[Width]:
    encoders = tuple(text.encoders)
    given = sum(encoder.model.config.hidden_size for encoder in encoders)
    pooled = frozenset([_pooled_width(network)])
    return [
        Width(encoders[1:], text.pooled_width, "prompt", pooled),
        Width(encoders, given, "token", numbers(network.get("cross_attention_dim"))),
    ]


XL = Family(
    name="Stable Diffusion XL",
    parts={
        "unet": UNET,
        "vae": AUTOENCODERS,
        "text_encoder": CLIP,
        "text_encoder_2": CLIP_WITH_POOLED,
    },
    recognizes=_recognizes,
    predict=predict,
    text=_text,
    widths=_widths,
    gives={"addition_embed_type": "text_time"},
    needs={"addition_embed_type": "the pooled text of its text_encoder_2"},
)
