"""PixArt-α and PixArt-Σ: a transformer with a T5 (Chen et al. 2023, 2024)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gs3d.priors.families.base import (
    AUTOENCODERS,
    T5,
    AnyText,
    Config,
    Family,
    TextParts,
    Width,
    diffusers_class,
    is_of,
    same_width,
    shape_with_variance,
)
from gs3d.priors.scalings import Epsilon, Velocity
from gs3d.priors.text.packing import unweigh, weigh
from gs3d.priors.text.several import Outputs, TextEncoders, masked_t5_encoder

if TYPE_CHECKING:
    from jaxtyping import Float

ALPHA_TOKENS, SIGMA_TOKENS = 120, 300
"""Length of the texts in the training of PixArt-α and PixArt-Σ."""
TRANSFORMERS = ("PixArtTransformer2DModel", "Transformer2DModel")
"""Class of the network, and what diffusers called it when PixArt-α was published."""
NOTHING = -1e4
"""What is added to the logarithm of the attention to padding."""


def predict(
    backbone: Any,
    x: Float[Tensor, "B C h w"],
    time: Float[Tensor, " B"],
    text: Float[Tensor, "B L E+1"],
    image_size: int,
) -> Float[Tensor, "B 2*C h w"]:
    """Call the transformer, without attention to the padding of the text.

    A weight w of a token between 0 and 1, in a blend of texts, multiplies the attention to it: ln w
    is added to its logarithm. PixArt-α at 1024² is also told the size of the image in pixels and
    its aspect ratio, 1.
    """
    states, weights = unweigh(text)
    bias = weights.log().clamp_min(NOTHING).to(x.dtype)[:, None]
    added = {"resolution": None, "aspect_ratio": None}
    if backbone.use_additional_conditions:
        added = {
            "resolution": torch.full((len(x), 2), float(image_size), device=x.device).to(x.dtype),
            "aspect_ratio": torch.ones(len(x), 1, device=x.device, dtype=x.dtype),
        }
    return backbone(
        x,
        encoder_hidden_states=states.to(x.dtype),
        encoder_attention_mask=bias,
        timestep=time,
        added_cond_kwargs=added,
        return_dict=False,
    )[0]


def _combine(outputs: list[Outputs]) -> Tensor:
    return weigh(*outputs[0])


def _text(parts: TextParts) -> AnyText:
    length = ALPHA_TOKENS if "Alpha" in str(parts.index.get("_class_name")) else SIGMA_TOKENS
    encoder = masked_t5_encoder("text_encoder", *parts.encoders["text_encoder"], length)
    return TextEncoders([encoder], _combine)


def _widths(network: Config, text: AnyText) -> list[Width]:
    projected = network.get("caption_channels") is not None
    return same_width(network, text, "caption_channels" if projected else "cross_attention_dim")


PIXART = Family(
    name="PixArt-Σ",
    parts={
        "transformer": TRANSFORMERS,
        "vae": AUTOENCODERS,
        "text_encoder": T5,
    },
    recognizes=lambda index: is_of(index, "transformer", TRANSFORMERS[0], "PixArt"),
    predict=predict,
    text=_text,
    widths=_widths,
    scalings=(Epsilon, Velocity),
    shape=shape_with_variance,
    network_class=lambda name: diffusers_class(TRANSFORMERS[0]),
)
