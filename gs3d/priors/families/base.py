"""What gs3d must know of a family of diffusers models to read and call them: one `Family` each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from torch import Tensor

from gs3d.priors.network import TextEncoder
from gs3d.priors.scalings import Edm, Epsilon, Flow, Velocity
from gs3d.priors.text.several import Encoder, TextEncoders, clip_encoder

AnyText = TextEncoder | TextEncoders
Config = Mapping[str, Any]
"""Settings of a network, or a model_index.json."""
UNET = ("UNet2DConditionModel",)
AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
CLIP, CLIP_WITH_POOLED, T5 = (
    ("CLIPTextModel",),
    ("CLIPTextModelWithProjection",),
    ("T5EncoderModel",),
)
BACKBONES = ("unet", "transformer")
"""Names of the denoising network; a model has one of them."""
TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
NETWORKS = (*BACKBONES, "vae", *TEXT_ENCODERS)
"""Names of all parts with weights; a model has some of them."""
FLOW_SCHEDULERS = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
SCALINGS: dict[type, str] = {
    Epsilon: "epsilon with betas",
    Velocity: "v_prediction with betas",
    Edm: "EDM",
    Flow: "flow matching",
}
"""Kind of scaling → its name in messages."""


@dataclass(frozen=True)
class TextParts:
    """What the text of a model is built from."""

    name: str
    """The model as the user named it, for messages."""
    index: Config
    """Its model_index.json."""
    encoders: Mapping[str, tuple[Any, Any]]
    """Part → (text encoder, tokenizer), in the order of TEXT_ENCODERS."""
    limits: Mapping[str, int]
    """Part → number of tokens that it reads, for a CLIP. T5 has no limit of its own."""
    network: Config
    """Settings of the denoising network."""


@dataclass(frozen=True)
class Width:
    """How many numbers some encoders give, and how many the network takes."""

    encoders: tuple[Encoder, ...]
    given: int
    per: Literal["token", "prompt"]
    taken: frozenset[int]


def shape_of(network: Config) -> tuple[Any, Any, Any]:
    """Channels of z in and out and the side of z, as the settings of most networks have them."""
    return network.get("in_channels"), network.get("out_channels"), network.get("sample_size")


def shape_with_variance(network: Config) -> tuple[Any, Any, Any]:
    """`shape_of` a network that may have a learned variance in a second half of its channels out.

    That is no part of D (Nichol & Dhariwal 2021, Eq. 15): `network.Network` leaves it out.
    """
    channels, out, side = shape_of(network)
    return channels, channels if type(out) is int and out == 2 * channels else out, side


def diffusers_class(name: str) -> Any:
    """The network class of diffusers with this name; None if this diffusers has none."""
    import diffusers

    return getattr(diffusers, name, None)


@dataclass(frozen=True)
class Family:
    """Models with the same parts, which are read and called in the same way."""

    name: str
    """For messages."""
    parts: Mapping[str, tuple[str, ...]]
    """Part → supported classes. A part that is not named has any class if it is a tokenizer or the
    scheduler, and must not be there if it is one of NETWORKS."""
    recognizes: Callable[[Config], bool]
    """Whether a model_index.json is that of a model of the family. Also true for one with a part
    missing or of another class, so that the message can name the part."""
    predict: Callable[[Any, Tensor, Tensor, Tensor, int], Tensor]
    """Calls the network: (network, x [B, C, h, w] in its precision, time [B] float32, text
    [B, L, E] float32 as `embed` gave it, side of the images in pixels) → output [B, C, h, w]."""
    text: Callable[[TextParts], AnyText]
    """Makes the text of the encoders."""
    widths: Callable[[Config, AnyText], list[Width]]
    """What the network with these settings takes of the text."""
    optional: tuple[str, ...] = ()
    """Parts that a model can do without."""
    scalings: tuple[type, ...] = tuple(SCALINGS)
    """What the scheduler may say that the network predicts."""
    of_photographs: bool = False
    """Whether a model on pixels was trained on photographs, so that the presets of latent models
    fit it, and not those of the built-in prior."""
    is_bfloat16: bool = False
    """Whether the network was trained in bfloat16, so that its sums may overflow float16."""
    shape: Callable[[Config], tuple[Any, Any, Any]] = shape_of
    """Settings of the network → channels of z in and out, and the side of z."""
    gives: Mapping[str, str] = field(default_factory=dict[str, str])
    """Setting of the network for a condition beside time and text → its value with which `predict`
    gives that condition, or the network takes it from the text."""
    needs: Mapping[str, str] = field(default_factory=dict[str, str])
    """The same for values that a network must have → what the condition is."""
    network_class: Callable[[str], Any] = diffusers_class
    """Name of a class in `parts` → class of the denoising network with diffusers'
    `from_pretrained`."""
    prior: Callable[..., Any] | None = None
    """Makes the prior of (components, checkpoint_encoder, replacement autoencoder); None for the
    class that fits its parts: `LatentPrior`, `PixelPrior` or `MultiViewPrior`."""
    views: int = 1
    """Number of views that it denoises together, the smallest batch of the network."""
    guidance: float = 1.0
    """What the high guidance scales of the presets, chosen for Stable Diffusion, are multiplied by
    (`distill.settings.stages.with_guidance_times`), but not below the scale of sampling."""


def class_of(index: Config, part: str) -> str:
    """Class of a part in a model_index.json; "" if it has none."""
    value = index.get(part)
    names = cast("list[object]", value) if isinstance(value, list) else []
    return names[1] if len(names) == 2 and isinstance(names[1], str) else ""


def pipeline_of(index: Config) -> str:
    """Name of the pipeline class in a model_index.json."""
    return str(index.get("_class_name", ""))


def is_of(index: Config, part: str, cls: str, pipeline: str) -> bool:
    """Whether a part has this class, or the name of the pipeline begins so."""
    return class_of(index, part) == cls or pipeline_of(index).startswith(pipeline)


def clips(parts: TextParts) -> list[Encoder]:
    """The CLIPs of a model. They read the same words, so that their states can be put side by
    side."""
    length = min(parts.limits.values())
    return [clip_encoder(part, *parts.encoders[part], length) for part in parts.limits]


def same_width(network: Config, text: AnyText, key: str) -> list[Width]:
    """All encoders together give what the setting `key` of the network says, for each token."""
    widths = sum(encoder.model.config.hidden_size for encoder in text.encoders)
    return [Width(tuple(text.encoders), widths, "token", numbers(network.get(key)))]


def numbers(setting: Any) -> frozenset[int]:
    """The values of a setting that is one number, or one for each level of the network."""
    if setting is None:
        return frozenset()
    return frozenset((setting,) if isinstance(setting, int) else setting)
