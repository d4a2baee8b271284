"""Another autoencoder for a prior over latents: one that was trained to give the same latents in a fraction of the time."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gs3d.core.errors import UserError
from gs3d.priors.loading import components, hub
from gs3d.priors.loading.components import Source

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderTiny

SMALL = {"taesd": ("madebyollin/taesd",)}
"""Short name → hub ids, tried in order. For Stable Diffusion 1 and 2; the latents of other models are others."""


def resolve_autoencoder(name: str, offline: bool = False) -> Source:
    """Where the autoencoder called `name` lies on this disk, downloaded if need be: one of SMALL, `owner/name`, or a folder that holds one
    or a whole model. `UserError` for none of these."""
    place = autoencoder_place(name)
    if isinstance(place, Path):
        return Source(name, place)
    what, else_do = (
        f"vae {name}",
        "Leave `vae` out of the config for the prior's own, or give a folder with a copy",
    )
    found = hub.cached(what, name, place, "config.json", hub.is_whole_part)
    return found or hub.download(what, name, place, offline, else_do, hub.fetch_part)


def autoencoder_place(name: str) -> Path | tuple[str, ...]:
    """The folder that `name` is, or hub ids, tried in order; nothing is opened or asked. `UserError` for neither."""
    folder = os.path.expanduser(name)
    if name in SMALL:
        return SMALL[name]
    if name and os.path.isdir(folder):
        inside = os.path.join(folder, "vae")
        return Path(inside if os.path.isdir(inside) else folder)
    if re.fullmatch(hub.ID, name):
        return (name,)
    raise UserError(f"vae {name}: expected {', '.join(SMALL)}, a hub id owner/name, or a folder")


def read_autoencoder(
    source: Source, device: torch.device, dtype: torch.dtype
) -> "AutoencoderKL | AutoencoderTiny":
    """It on its device, frozen. `UserError` for a folder that holds another network, or a damaged one."""
    import diffusers

    kind = hub.class_in(source.folder / "config.json")
    if kind not in hub.PARTS:
        raise UserError(
            f"vae {source.name}: expected {' or '.join(hub.PARTS)} of diffusers, got {kind or 'no config.json that says which'}"
        )
    if not (files := components.weight_files(source.folder, half=False)):
        raise UserError(
            f"vae {source.name}: no .safetensors weights beside its config.json; download it again with them"
        )
    variant = "fp16" if ".fp16" in files[0].name else None
    try:
        with components.quiet():
            model = getattr(diffusers, kind).from_pretrained(
                source.folder, local_files_only=True, use_safetensors=True, variant=variant
            )
    except Exception as error:  # as in `components._call`
        reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
        raise UserError(
            f"vae {source.name}: cannot be loaded ({reason}); download it again"
        ) from error
    return components.frozen(model, device, dtype)
