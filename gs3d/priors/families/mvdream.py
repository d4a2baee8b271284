"""MVDream: Stable Diffusion 2.1 for four views with their cameras (see `priors.mvdream`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from gs3d.core.cameras import GROUP
from gs3d.priors.families.base import (
    AUTOENCODERS,
    CLIP,
    AnyText,
    Config,
    Family,
    TextParts,
    Width,
    class_of,
    pipeline_of,
    same_width,
)
from gs3d.priors.mvdream.text import ViewTextEncoder, split

if TYPE_CHECKING:
    from jaxtyping import Float

    from gs3d.priors.mvdream.prior import MvDreamPrior

UNET = "MultiViewUNetModel"


def _recognizes(index: Config) -> bool:
    return class_of(index, "unet") == UNET or "MVDream" in pipeline_of(index)


def _predict(
    network: Any,
    x: Float[Tensor, "B C h w"],
    time: Float[Tensor, " B"],
    text: Float[Tensor, "B M E"],
    image_size: int = 0,
) -> Float[Tensor, "B C h w"]:
    states, cameras = split(text.to(x.dtype))
    return network(x, time, states, cameras, GROUP)


def _text(parts: TextParts) -> AnyText:
    return ViewTextEncoder(*parts.encoders["text_encoder"])


def _widths(network: Config, text: AnyText) -> list[Width]:
    return same_width(network, text, "context_dim")


def _shape(network: Config) -> tuple[int, int, Any]:
    return network["in_channels"], network["out_channels"], network["image_size"]


def _prior(*components: Any) -> MvDreamPrior:
    # Its module imports that of the components, which imports this one.
    from gs3d.priors.mvdream.prior import MvDreamPrior

    return MvDreamPrior.of(*components)


def _network_class(name: str) -> Any:
    # diffusers does not have it. The module imports diffusers, and is imported no sooner.
    from gs3d.priors.mvdream.unet import MultiViewUNetModel

    return MultiViewUNetModel


MVDREAM = Family(
    name="MVDream",
    parts={"unet": (UNET,), "vae": AUTOENCODERS, "text_encoder": CLIP},
    recognizes=_recognizes,
    predict=_predict,
    text=_text,
    widths=_widths,
    shape=_shape,
    network_class=_network_class,
    prior=_prior,
    views=GROUP,
    # Its authors' runs have 50, with SDS, for which 100 is usual with Stable Diffusion.
    guidance=0.5,
)
