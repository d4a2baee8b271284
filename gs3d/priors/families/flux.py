"""FLUX.1 dev and schnell: a flow-matching transformer with a CLIP and a T5 (Black Forest Labs).

FLUX.1 dev was distilled from classifier-free guidance: the guidance scale is an input of the
network. gs3d always gives it 1, no guidance, so that D is the plain conditional model, as for every
other prior, and `guided` guides it with the negative prompt. FLUX.1 schnell has no such input. It
was distilled to a few steps, so that its D at high noise is sharper than a mean of images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.priors.families.base import (
    AUTOENCODERS,
    CLIP,
    FLOW_SCHEDULERS,
    T5,
    AnyText,
    Config,
    Family,
    TextParts,
    Width,
    is_of,
    numbers,
)
from gs3d.priors.scalings import Flow
from gs3d.priors.text.packing import pack, unpack
from gs3d.priors.text.several import POOLED, Encoder, Outputs, TextEncoders, t5_encoder

if TYPE_CHECKING:
    from jaxtyping import Float

DEV_TOKENS, SCHNELL_TOKENS = 512, 256
"""Length of the texts that T5 reads."""
GUIDANCE = 1.0
"""Guidance scale that the network of FLUX.1 dev is told."""
PATCH = 2
"""Side in latents of a patch, which is one token of the network."""
SIDE = 64
"""Side of the latents: images of 512². The network has no size of its own, and was trained on
images of 0.1 to 2 megapixels; this one has a quarter of the tokens of 1024²."""
TIME_SCALE = 1000.0
"""The network multiplies its time by this, as `scalings.Flow.c_noise` has done already."""


def predict(
    backbone: Any,
    x: Float[Tensor, "B C h w"],
    time: Float[Tensor, " B"],
    text: Float[Tensor, "B R E"],
    image_size: int,
) -> Float[Tensor, "B C h w"]:
    """Call the transformer on the patches of x, with the states of T5 and the pooled text of CLIP.

    Text has no place; a patch has its row and column.
    """
    states, pooled = unpack(text.to(x.dtype), backbone.config.pooled_projection_dim)
    rows, columns = x.shape[2] // PATCH, x.shape[3] // PATCH
    place = torch.zeros(rows, columns, 3, device=x.device)
    place[..., 1] = torch.arange(rows, device=x.device)[:, None]
    place[..., 2] = torch.arange(columns, device=x.device)
    guidance = None
    if backbone.config.guidance_embeds:
        guidance = torch.full((len(x),), GUIDANCE, device=x.device)
    out = backbone(
        functional.pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2),
        encoder_hidden_states=states,
        pooled_projections=pooled,
        timestep=time / TIME_SCALE,
        img_ids=place.flatten(0, 1),
        txt_ids=torch.zeros(states.shape[1], 3, device=x.device),
        guidance=guidance,
        return_dict=False,
    )[0]
    return functional.pixel_shuffle(out.transpose(1, 2).unflatten(2, (rows, columns)), PATCH)


def _shape(network: Config) -> tuple[Any, Any, Any]:
    channels, out = network.get("in_channels"), network.get("out_channels")
    out = channels if out is None else out
    return _in_latents(channels), _in_latents(out), SIDE


def _in_latents(channels: Any) -> Any:
    """Channels of z, by the channels of a patch."""
    whole = type(channels) is int and channels % PATCH**2 == 0
    return channels // PATCH**2 if whole else f"{channels} / {PATCH**2}"


def _read(model: Any, ids: Tensor, mask: Tensor) -> Outputs:
    return (model(ids).pooler_output,)


def _combine(outputs: list[Outputs]) -> Tensor:
    (pooled,), (states,) = outputs
    return pack(states, pooled)


def _text(parts: TextParts) -> AnyText:
    clip, tokenizer = parts.encoders["text_encoder"]
    limit, width = parts.limits["text_encoder"], clip.config.hidden_size
    length = DEV_TOKENS if parts.network.get("guidance_embeds") else SCHNELL_TOKENS
    encoders = [
        Encoder(
            "text_encoder",
            clip,
            tokenizer,
            limit,
            _read,
            width,
            outputs_are=(POOLED,),
            is_summary=True,
        ),
        t5_encoder("text_encoder_2", *parts.encoders["text_encoder_2"], length),
    ]
    return TextEncoders(encoders, _combine, lead=1)


def _widths(network: Config, text: AnyText) -> list[Width]:
    clip, t5 = text.encoders
    taken, pooled = (
        numbers(network.get(k)) for k in ("joint_attention_dim", "pooled_projection_dim")
    )
    return [
        Width((t5,), t5.model.config.hidden_size, "token", taken),
        Width((clip,), text.pooled_width, "prompt", pooled),
    ]


FLUX = Family(
    name="FLUX.1",
    parts={
        "transformer": ("FluxTransformer2DModel",),
        "vae": AUTOENCODERS,
        "text_encoder": CLIP,
        "text_encoder_2": T5,
        "scheduler": FLOW_SCHEDULERS,
    },
    recognizes=lambda index: is_of(index, "transformer", "FluxTransformer2DModel", "Flux"),
    predict=predict,
    text=_text,
    widths=_widths,
    scalings=(Flow,),
    is_bfloat16=True,
    shape=_shape,
)
