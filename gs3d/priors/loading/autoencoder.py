"""Other autoencoders for latent-space priors: in place of the prior's own, or for its gradient.

One trained for the same latents can encode in a fraction of the time.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gs3d.core.errors import UserError
from gs3d.priors.loading import cache, hub
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.parts import load_network, quiet

if TYPE_CHECKING:
    from gs3d.priors.network import Autoencoder

SHORT_NAMES = {"taesd": ("madebyollin/taesd",)}
"""Short name → hub ids, tried in order.

They are for Stable Diffusion 1 and 2; other models have other latents.
"""


def resolve_autoencoder(name: str, offline: bool = False, setting: str = "vae") -> Source:
    """Local folder of the autoencoder `name`, downloaded if necessary.

    `name` is one of SHORT_NAMES, a hub id `owner/name`, or a folder with an autoencoder or a
    complete model. `setting` is the one of a config that names it, for messages. Raises `UserError`
    if it is none of these or cannot be downloaded.
    """
    place = autoencoder_place(name, setting)
    if isinstance(place, Path):
        return Source(name, place)
    subject = f"{setting} {name}"
    advice = (
        f"Remove `{setting}` from the config to use the prior's own, or pass a folder with a copy"
    )
    found = cache.cached(
        subject, name, place, "config.json", cache.is_complete_network, offline=offline
    )
    return found or hub.download(subject, name, place, offline, advice, hub.fetch_network)


def autoencoder_place(name: str, setting: str = "vae") -> Path | tuple[str, ...]:
    """The folder that `name` is, or hub ids to try in order, without reading or downloading.

    Raises `UserError` if `name` is neither.
    """
    folder = os.path.expanduser(name)
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    if name and os.path.isdir(folder):
        inside = os.path.join(folder, "vae")
        return Path(inside if os.path.isdir(inside) else folder)
    if name and os.path.exists(folder):
        raise UserError(f"{setting} {name}: a file; expected a folder with config.json and weights")
    if re.fullmatch(hub.ID_PATTERN, name):
        return (name,)
    raise UserError(
        f"{setting} {name}: expected {', '.join(SHORT_NAMES)}, a hub id owner/name, or a folder"
    )


def check_named(source: Source, named: dict[str, str], checkpoint_encoder: bool) -> None:
    """Raise `UserError` if settings that name autoencoders do not fit the prior in `source`.

    `named` is setting → name, of `vae` and `vae_backward`. Nothing is read but the model's index,
    so that this can come before a download.
    """
    for setting, name in named.items():
        if source.in_pixels:
            raise UserError(
                f"{setting} {name}: the prior {source.name} works on pixels and has no "
                f"autoencoder; remove `{setting}` from the config"
            )
    if "vae_backward" in named and len(named) > 1:
        raise UserError(
            f"vae_backward {named['vae_backward']}: expected no `vae` beside it, got "
            f"{named['vae']}; use one of the two"
        )
    if "vae_backward" in named and checkpoint_encoder:
        raise UserError(
            "checkpoint_encoder: has no effect with vae_backward, where the prior's own encoder "
            "keeps nothing for the backward pass; remove `checkpoint_encoder` from the config"
        )


def read_autoencoder(
    source: Source, device: torch.device, dtype: torch.dtype, setting: str = "vae"
) -> "Autoencoder":
    """Load the autoencoder in `source.folder`, frozen, on `device`.

    Raises `UserError` if the folder holds another network or a damaged one.
    """
    import diffusers

    cls = hub.class_in(source.folder / "config.json")
    if cls is None or cls not in hub.AUTOENCODERS:
        raise UserError(
            f"{setting} {source.name}: expected {' or '.join(hub.AUTOENCODERS)} of diffusers, "
            f"got {cls or 'no config.json with a class name'}; use another folder or name"
        )
    with quiet():
        return load_network(
            f"{setting} {source.name}", source.folder, getattr(diffusers, cls), device, dtype
        )
