"""The built-in prior: a transformer on pixels with one text encoder (`pretraining.prior`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from gs3d.priors.families.base import AUTOENCODERS, CLIP, Config, Family, class_of
from gs3d.priors.families.stable_diffusion import one_text, widths

if TYPE_CHECKING:
    from jaxtyping import Float


def _recognizes(index: Config) -> bool:
    return not class_of(index, "unet") and bool(class_of(index, "transformer"))


def predict(
    backbone: Any,
    x: Float[Tensor, "B C h w"],
    time: Float[Tensor, " B"],
    text: Float[Tensor, "B L E"],
    image_size: int = 0,
) -> Float[Tensor, "B C h w"]:
    """Call the transformer. It takes the last state as the pooled text (see `network.encode`)."""
    text = text.to(x.dtype)
    return backbone(
        x,
        encoder_hidden_states=text,
        pooled_projections=text[:, -1],
        timestep=time,
        return_dict=False,
    )[0]


BUILTIN = Family(
    name="the built-in prior",
    parts={
        "transformer": ("SD3Transformer2DModel",),
        "vae": AUTOENCODERS,
        "text_encoder": CLIP,
    },
    recognizes=_recognizes,
    predict=predict,
    text=one_text,
    widths=widths,
    optional=("vae",),
)
