"""Stable Diffusion 3 and 3.5: a transformer with two CLIPs and a T5 (Esser et al. 2024)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gs3d.priors.families.base import (
    AUTOENCODERS,
    CLIP_WITH_POOLED,
    FLOW_SCHEDULERS,
    T5,
    TEXT_ENCODERS,
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
from gs3d.priors.text.several import (
    T5_TOKENS,
    TextEncoders,
    combine_3,
    t5_encoder,
)

if TYPE_CHECKING:
    from jaxtyping import Float


def _recognizes(index: Config) -> bool:
    several = any(part in index for part in TEXT_ENCODERS[1:])
    return several and not class_of(index, "unet")


def predict(
    backbone: Any,
    x: Float[Tensor, "B C h w"],
    time: Float[Tensor, " B"],
    text: Float[Tensor, "B L E"],
    image_size: int,
) -> Float[Tensor, "B C h w"]:
    """Call the transformer with the states and the pooled text."""
    states, pooled = unpack(text.to(x.dtype), backbone.config.pooled_projection_dim)
    return backbone(
        x,
        encoder_hidden_states=states,
        pooled_projections=pooled,
        timestep=time,
        return_dict=False,
    )[0]


def _text(parts: TextParts) -> AnyText:
    encoders = clips(parts)
    if "text_encoder_3" in parts.encoders:
        encoders.append(t5_encoder("text_encoder_3", *parts.encoders["text_encoder_3"], T5_TOKENS))
    width = parts.network["joint_attention_dim"]
    return TextEncoders(encoders, partial(combine_3, width=width))


def _widths(network: Config, text: AnyText) -> list[Width]:
    encoders = tuple(text.encoders)
    given = [encoder.model.config.hidden_size for encoder in encoders]
    taken = numbers(network.get("joint_attention_dim"))
    pooled = numbers(network.get("pooled_projection_dim"))
    return [
        # Zeros fill up the states of the CLIPs; see `several.combine_3`.
        Width(encoders[:2], max(sum(given[:2]), *taken), "token", taken),
        *(Width((encoders[i],), given[i], "token", taken) for i in range(2, len(encoders))),
        Width(encoders[:2], text.pooled_width, "prompt", pooled),
    ]


SD3 = Family(
    name="Stable Diffusion 3.5",
    parts={
        "transformer": ("SD3Transformer2DModel",),
        "vae": AUTOENCODERS,
        "text_encoder": CLIP_WITH_POOLED,
        "text_encoder_2": CLIP_WITH_POOLED,
        "text_encoder_3": T5,
        "scheduler": FLOW_SCHEDULERS,
    },
    recognizes=_recognizes,
    predict=predict,
    text=_text,
    widths=_widths,
    # It can do without its third encoder, a T5 of 10 GB in half precision.
    optional=("text_encoder_3",),
    is_bfloat16=True,
)
