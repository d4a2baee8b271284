"""Whether the parts of a model fit together, checked once after they are loaded."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch

from gs3d.core import rng
from gs3d.core.errors import UserError, shown
from gs3d.priors.families.base import Family
from gs3d.priors.images import downsampling
from gs3d.priors.latent import BackwardEncoder
from gs3d.priors.loading.components import Components, Source, backbone_part
from gs3d.priors.loading.headers import read_object
from gs3d.priors.loading.parts import usable
from gs3d.priors.scalings import Scaling
from gs3d.priors.text.checks import check_widths, try_text
from gs3d.priors.text.packing import pack, unpack

if TYPE_CHECKING:
    from gs3d.priors.network import Autoencoder

TIMES = (0.02, 0.25, 0.5, 0.75, 0.98)
"""Times at which the noise schedule is looked at."""
UNTRAINED = 1e-3
"""Largest output of a network, relative to its input, that counts as next to nothing."""
PATCHES = 8
"""Side in patches of the latents that a transformer is tried on."""
SAME = 1e-6
"""Largest relative difference of predictions that counts as none."""
CONDITIONS = {
    "class_embed_type": "a class or an image",
    "num_class_embeds": "a class",
    "addition_embed_type": "an added condition",
    "time_cond_proj_dim": "the guidance scale",
}
"""Setting of a network → what else than time and text it then wants to be given."""


def check_together(
    parts: Components,
    replacement: Source | None = None,
    backward: BackwardEncoder | None = None,
) -> None:
    """Raise `UserError` if the parts cannot work together, or ignore the prompt.

    `replacement` is where the autoencoder was loaded from, if it is not the model's own, and
    `backward` the encoder that gives the gradient, if it is another one. The settings are compared
    first, so that the message can name the parts at fault. Then each part is tried once, on a small
    input.
    """
    name = f"prior {parts.source.name}"
    network = f"its {backbone_part(parts.source.index)}"
    _check_schedule(name, parts.scaling)
    config = parts.backbone.config
    _check_conditions(name, network, config, parts.family)
    check_widths(name, network, parts.family.widths(config, parts.text))
    if parts.vae is not None:
        _check_factor(name, parts.vae, parts.source, replacement)
        _try_autoencoder(name if replacement is None else f"vae {replacement.name}", parts.vae)
    if backward is not None:
        _check_backward(name, parts, backward)
    _try_network(name, network, parts, try_text(name, parts.text))


def _check_backward(name: str, parts: Components, backward: BackwardEncoder) -> None:
    """Check that the encoder that gives the gradient has latents of the same shape."""
    assert backward.source is not None and parts.vae is not None
    what, own = f"vae_backward {backward.source.name}", cast(Any, parts.vae.config)
    config = cast(Any, backward.vae.config)
    shapes = [(c.latent_channels, downsampling(c)) for c in (config, own)]
    if shapes[0] != shapes[1]:
        (channels, factor), (own_channels, own_factor) = shapes
        raise UserError(
            f"{what}: its latents have {channels} channels and are {factor} times smaller than "
            f"images, those of the {name} have {own_channels} and are {own_factor} times smaller; "
            "remove `vae_backward` from the config, or use an autoencoder trained for the latents "
            "of this prior"
        )
    _try_autoencoder(what, backward.vae)


def _check_schedule(name: str, scaling: Scaling) -> None:
    try:
        sigmas = [scaling.sigma(t) for t in TIMES]
    except (ValueError, OverflowError, IndexError, TypeError):
        sigmas = [math.nan]
    if not all(math.isfinite(s) and s > 0 for s in sigmas) or any(
        a >= b for a, b in pairwise(sigmas)
    ):
        raise UserError(
            f"{name}: the noise of its scheduler does not rise with the time "
            f"(σ {', '.join(f'{s:.3g}' for s in sigmas)}); download the model again"
        )


def _check_conditions(name: str, network: str, config: dict[str, Any], family: Family) -> None:
    """Check that the network wants what it is given."""
    found = {key: config.get(key) for key in CONDITIONS}
    for key, what in family.needs.items():
        if found[key] != family.gives[key]:
            raise UserError(
                f"{name}: {network} has {key} {shown(found[key])}; expected {family.gives[key]}, "
                f"for {what}; the two are of different models"
            )
    found = {key: value for key, value in found.items() if value != family.gives.get(key)}
    wants = next((w for key, w in CONDITIONS.items() if found.get(key) is not None), None)
    if config.get("encoder_hid_dim_type") not in (None, "text_proj"):
        wants = "an image"
    if wants:
        raise UserError(
            f"{name}: {network} wants {wants} beside the text, which a text-to-image prior is "
            "not given; use another model"
        )


def _check_factor(name: str, vae: Autoencoder, source: Source, replacement: Source | None) -> None:
    """Check a replacement's factor against that of the model's own autoencoder."""
    own = source.folder / "vae" / "config.json"
    if replacement is None or not own.is_file():
        return
    try:
        expected = downsampling(read_object(own, name))
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # the model's own is not used
    factor = downsampling(cast(Any, vae.config))
    if factor != expected:
        raise UserError(
            f"vae {replacement.name}: its latents are {factor} times smaller than images, those of "
            f"the {name} {expected} times; remove `vae` from the config, or use an autoencoder "
            "trained for the latents of this prior"
        )


def _try_autoencoder(name: str, vae: Autoencoder) -> None:
    """Check the factor and the number of channels of the latents against the configuration."""
    config = cast(Any, vae.config)
    if config.get("latents_mean") is not None or config.get("latents_std") is not None:
        raise UserError(
            f"{name}: its vae scales each channel by itself (latents_mean), which gs3d "
            "does not support; use another model"
        )
    factor, channels = downsampling(config), config.latent_channels
    side = 2 * factor
    images = rng.normal((2, 3, side, side), 0, "images").clamp(-1, 1).to(vae.device, vae.dtype)
    with usable(f"{name}: its vae"), torch.no_grad():
        encoded = cast(Any, vae.encode(images))
        z = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
    if tuple(z.shape[1:]) != (channels, 2, 2) or not z.isfinite().all():
        raise UserError(
            f"{name}: its vae makes latents of {tuple(z.shape[1:])} from images of "
            f"{side}², not finite ones of {(channels, 2, 2)}; {_AGAIN}"
        )
    if torch.equal(z[0], z[1]):
        raise UserError(f"{name}: its vae gives the same latents for different images; {_AGAIN}")


def _try_network(name: str, network: str, parts: Components, text: torch.Tensor) -> None:
    """Check that predictions are finite, and differ with the prompt: `text` is [2, L, E]."""
    backbone = parts.backbone
    config = cast(Any, backbone.config)
    channels, _, side = parts.family.shape(config)
    # A small size is enough. A U-Net takes any that its levels can halve, and a transformer crops
    # its table of positions, or has none.
    if levels := config.get("down_block_types") or config.get("channel_mult"):
        side = min(side, 2 ** len(levels))
    elif type(patch := config.get("patch_size")) is int:
        side = min(side, PATCHES * patch)
    rows = parts.family.views
    z = rng.normal((rows, channels, side, side), 0, "latent").to(backbone.device)
    sigma = torch.ones(rows, device=z.device)
    text = text.to(z.device).repeat_interleave(rows, dim=0)
    with usable(f"{name}: {network}"):
        denoiser = parts.network()
        one = denoiser.denoise(z, sigma, text[:rows])
        others = {
            what: denoiser.denoise(z, sigma, other)
            for what, other in _other_texts(text, parts.text.pooled_width).items()
        }
        output = one - parts.scaling.c_skip(sigma[:, None, None, None]) * z
    if one.shape != z.shape or not one.isfinite().all():
        raise UserError(
            f"{name}: {network} does not give finite numbers of the size of its input; {_AGAIN}"
        )
    # A network that was hardly trained gives nearly nothing, whatever the text.
    is_trained = output.abs().max() > UNTRAINED * z.abs().max()
    for what, other in others.items():
        if is_trained and (one - other).abs().max() <= SAME * one.abs().max():
            raise UserError(f"{name}: {network} ignores the {what}; {_AGAIN}")


def _other_texts(text: torch.Tensor, pooled_width: int) -> dict[str, torch.Tensor]:
    """Name of a part of the text → the first half of the texts with that part of the second."""
    one, two = text.chunk(2)
    if not pooled_width:
        return {"text": two}
    (states, pooled), (others, other_pooled) = (unpack(half, pooled_width) for half in (one, two))
    return {"text": pack(others, pooled), "pooled text": pack(states, other_pooled)}


_AGAIN = "download the model again, or use another"
