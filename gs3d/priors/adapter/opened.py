# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# diffusers has no complete types.
"""Finds the network in a prior, and its layers that a LoRA and a camera embedding can change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from gs3d.core.errors import UserError, shown
from gs3d.priors.base import Prior
from gs3d.priors.builtin_512 import LATENT_SCALE, Builtin512
from gs3d.priors.network import Network

TIME = ("time_embedding", "time_text_embed", "adaln_single.emb")
"""Names of the module that embeds the time: of a U-Net; of Stable Diffusion 3, FLUX.1 and the
built-in prior; of PixArt. Each returns one vector [B, W] for an image."""
PROJECTIONS = (
    *("to_q", "to_k", "to_v", "to_out.0"),
    *("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"),
)
"""Names of the linear layers of an attention in diffusers; the second line is those for the text of
a transformer that attends to both at once."""


@dataclass(frozen=True)
class Opened:
    """A prior taken apart at its network."""

    network: Network
    rebuild: Callable[[Network], Prior]
    """The same prior with another network."""
    scale: float = 1.0
    """Noise level of the prior, divided by that of its network."""


def opened(prior: Prior, what: str) -> Opened:
    """Take `prior` apart.

    Raises `UserError` about `what`, the loss, if its network cannot be adapted: the prior denoises
    several views together, is no dataclass with a `network`, or is compiled.
    """
    if prior.views > 1:
        raise UserError(
            f"{what}: the prior {prior.name} denoises {prior.views} views together, and a LoRA "
            "learns single views; choose another prior or guidance"
        )
    if isinstance(prior, Builtin512):
        inner = _with_field(prior.colors, what)

        def rebuild(network: Network) -> Prior:
            return cast(Prior, replace(prior, colors=cast(Any, inner.rebuild(network))))

        return Opened(inner.network, rebuild, LATENT_SCALE)
    return _with_field(prior, what)


def _with_field(prior: Any, what: str) -> Opened:
    network: Any = getattr(prior, "network", None)
    name: str = prior.name
    is_field = is_dataclass(prior) and "network" in {f.name for f in fields(prior)}
    if not (is_field and isinstance(network, Network)):
        raise UserError(
            f"{what}: the prior {shown(name)} has no network of diffusers that a LoRA can be "
            "added to; choose another prior or guidance"
        )
    if getattr(network.backbone, "_compiled_call_impl", None) is not None:
        raise UserError(
            f"{what}: a LoRA cannot be trained in a compiled network; leave `compile` out of the "
            "config"
        )

    def rebuild(network: Network) -> Prior:
        return replace(cast(Any, prior), network=network)

    return Opened(network, rebuild)


def projections(backbone: nn.Module) -> dict[str, nn.Linear]:
    """Name → linear layer of each attention, in the order of the network."""
    return {
        name: module
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear)
        and any(name == end or name.endswith(f".{end}") for end in PROJECTIONS)
    }


def time_module(backbone: nn.Module) -> tuple[nn.Module, int] | None:
    """The module that embeds the time, and how many numbers it gives; None if there is none."""
    for name in TIME:
        try:
            module = backbone.get_submodule(name)
        except AttributeError:
            continue
        widths = [
            part.out_features
            for path, part in module.named_modules()
            if path.endswith("linear_2") and isinstance(part, torch.nn.Linear)
        ]
        if widths:
            return module, widths[0]
    return None
