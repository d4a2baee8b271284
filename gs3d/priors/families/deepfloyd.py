"""DeepFloyd IF, stage I: a U-Net on 64² pixels with a T5 (as Imagen, Saharia et al. 2022).

The later stages of IF enlarge an image that they are given, and are no priors. The parts of the
model that judge or mark finished images are not read.
"""

from __future__ import annotations

from torch import Tensor

from gs3d.priors.families.base import (
    T5,
    UNET,
    AnyText,
    Config,
    Family,
    TextParts,
    Width,
    class_of,
    pipeline_of,
    same_width,
    shape_with_variance,
)
from gs3d.priors.network import predict
from gs3d.priors.scalings import Epsilon, Velocity
from gs3d.priors.text.several import Outputs, TextEncoders, masked_t5_encoder

TOKENS = 77
"""Length of the texts in its training."""


def _recognizes(index: Config) -> bool:
    is_t5 = class_of(index, "text_encoder") in T5 and not class_of(index, "vae")
    has_unet = bool(class_of(index, "unet"))
    return pipeline_of(index).startswith("IF") or (is_t5 and has_unet)


def _combine(outputs: list[Outputs]) -> Tensor:
    # The network reads the states of the padding too, which saw the text.
    return outputs[0][0]


def _text(parts: TextParts) -> AnyText:
    encoder = masked_t5_encoder("text_encoder", *parts.encoders["text_encoder"], TOKENS)
    return TextEncoders([encoder], _combine)


def _widths(network: Config, text: AnyText) -> list[Width]:
    projected = network.get("encoder_hid_dim") is not None
    return same_width(network, text, "encoder_hid_dim" if projected else "cross_attention_dim")


IF = Family(
    name="DeepFloyd IF",
    parts={"unet": UNET, "text_encoder": T5},
    recognizes=_recognizes,
    predict=predict,
    text=_text,
    widths=_widths,
    scalings=(Epsilon, Velocity),
    of_photographs=True,
    # DreamFusion and Magic3D in threestudio have 20 with it, and 100 with Stable Diffusion.
    guidance=0.2,
    shape=shape_with_variance,
    # The network pools the states of the text by itself.
    gives={"addition_embed_type": "text"},
)
