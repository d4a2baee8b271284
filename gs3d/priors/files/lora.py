# pyright: reportUnknownMemberType=false
# huggingface_hub has no complete types.
"""LoRAs: small changes to a model, W + w·(α/r)·B·A (Hu et al. 2021, Eq. 3), by file, folder or id.

Here they are found and looked at. `fuse` adds them to the weights of a model.
"""

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from gs3d.core.errors import UserError, shown
from gs3d.priors.families.flux import FLUX
from gs3d.priors.families.sd3 import SD3
from gs3d.priors.families.sdxl import XL
from gs3d.priors.families.stable_diffusion import STABLE_DIFFUSION
from gs3d.priors.files.contents import (
    LORA,
    OTHER_ADAPTERS,
    SUFFIX,
    is_whole_model,
    kind_of,
    read_contents,
    sha256_of,
)
from gs3d.priors.loading import cache, hub
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.factories import FACTORIES

LOADERS = {
    STABLE_DIFFUSION.name: "StableDiffusionLoraLoaderMixin",
    XL.name: "StableDiffusionXLLoraLoaderMixin",
    SD3.name: "SD3LoraLoaderMixin",
    FLUX.name: "FluxLoraLoaderMixin",
}
"""Family → class of diffusers that knows the names of weights of its LoRAs."""
WITHOUT = ("builtin", "mvdream", *FACTORIES)
"""Short names of priors that take no LoRA, which are refused before anything is downloaded."""
LARGEST = 4.0
"""Largest weight of a LoRA. Most are made for 1, and beyond 2 there is little left of an image."""
FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""Names of the file of a LoRA in a folder; otherwise its only .safetensors file counts."""
EXPECTED = "expected FILE, FOLDER or owner/name, or one of them with :WEIGHT"


@dataclass(frozen=True)
class Lora:
    """A LoRA on this disk, and how much of it is added."""

    name: str
    """File, folder or hub id as the user gave it."""
    weight: float
    file: Path
    sha256: str
    repo: str | None = None
    """Hub id of a download."""

    @property
    def facts(self) -> dict[str, str | float]:
        """For run.yaml: `name` and `weight` give `--lora` again."""
        source = self.repo or str(self.file.resolve())
        facts = {"name": self.name, "weight": self.weight, "source": source, "sha256": self.sha256}
        return facts | ({"revision": self.file.parent.name} if self.repo else {})


def resolve_loras(
    texts: Iterable[str], offline: bool = False, prior: object = None
) -> tuple[Lora, ...]:
    """The LoRAs that `texts` name, each "NAME" or "NAME:WEIGHT" with a file, a folder or a hub id
    as NAME, downloaded if necessary.

    Raises:
        UserError: A text names no LoRA that can be read, the package peft is missing, or `prior`
            is the short name of a prior that takes no LoRA.
    """
    texts = tuple(texts)
    if texts and isinstance(prior, str) and prior in WITHOUT:
        _refuse(split_weight(texts[0])[0], prior)
    if texts and find_spec("peft") is None:
        raise UserError(
            "--lora: the package peft is not installed; install it with `pip install gs3d[lora]`"
        )
    return tuple(resolve_lora(text, offline) for text in texts)


def with_loras(source: Source, loras: tuple[Lora, ...]) -> Source:
    """`source` with LoRAs that are added to the model when it is loaded.

    Raises:
        UserError: The model takes none.
    """
    if loras and source.family.name not in LOADERS:
        refuse_loras(loras, source.name)
    return replace(source, loras=loras) if loras else source


def refuse_loras(loras: tuple[Lora, ...], prior: str) -> None:
    """`UserError` that the prior with this name takes no LoRA, if there are any."""
    if loras:
        _refuse(loras[0].name, prior)


def _refuse(lora: str, prior: str) -> NoReturn:
    *names, last = LOADERS
    raise UserError(
        f"--lora {shown(lora, 200)}: the prior {prior} takes no LoRA; pass a model of "
        f"{', '.join(names)} or {last} with --prior"
    )


def resolve_lora(text: str, offline: bool = False) -> Lora:
    """The LoRA that `text` names (see `resolve_loras`)."""
    name, weight = split_weight(text)
    what = f"--lora {shown(name, 200)}"
    path, repo = Path(os.path.expanduser(name)), None
    # The functions of os.path never raise here; the methods of Path do.
    if os.path.isdir(path):
        file = _file_in(what, path)
    elif os.path.exists(path):
        file = path
    elif re.fullmatch(hub.ID_PATTERN, name):
        repo, file = name, _downloaded(what, name, offline)
    else:
        raise UserError(f"{what}: no such file or folder; {EXPECTED}")
    _check(what, file)
    return Lora(name, weight, file, sha256_of(file), repo)


def split_weight(text: str) -> tuple[str, float]:
    """Name and weight of "NAME" or "NAME:WEIGHT". `UserError` for a weight out of range."""
    name, colon, number = text.rpartition(":")
    if not text.strip() or (colon and not name):
        raise UserError(f"--lora: {EXPECTED}, got {shown(text) or 'nothing'}")
    # A file may have a colon in its name.
    if not colon or os.path.exists(os.path.expanduser(text)):
        return text, 1.0
    try:
        weight = float(number)
    except ValueError:
        return text, 1.0
    if not (math.isfinite(weight) and abs(weight) <= LARGEST):
        raise UserError(
            f"--lora {shown(name, 200)}: expected a weight from -{LARGEST:g} to {LARGEST:g}, "
            f"such as 0.8, got {shown(number)}"
        )
    return name, weight


def _check(what: str, file: Path) -> None:
    names = list(read_contents(what, file).names)
    if any(OTHER_ADAPTERS.search(name) for name in names):
        raise UserError(f"{what}: {kind_of(n for n in names if not LORA.search(n))}; {_PLAIN}")
    if not any(LORA.search(name) for name in names):
        if is_whole_model(names):
            raise UserError(f"{what}: {_WHOLE}")
        kind = kind_of(names) or f"something else (it has {shown(min(names), 60)})"
        raise UserError(f"{what}: no LoRA but {kind}; {_PLAIN}")


def _file_in(what: str, folder: Path) -> Path:
    """The weights in the folder of a LoRA."""
    files = sorted(p for p in folder.glob(f"*{SUFFIX}") if p.is_file())
    chosen = [p for name in FILES for p in files if p.name == name] or files
    if not chosen and (folder / "model_index.json").is_file():
        raise UserError(f"{what}: {_WHOLE}")
    if not chosen:
        pickles = sorted(p.name for p in folder.glob("*.bin"))
        only = f", only {shown(pickles[0])}, a pickle, which can run any code" if pickles else ""
        raise UserError(f"{what}: the folder has no {SUFFIX} file{only}; {EXPECTED}")
    if len(files) > 1 and chosen is files:
        raise UserError(
            f"{what}: the folder has {len(files)} {SUFFIX} files, such as {shown(files[0].name)}; "
            "pass one of them"
        )
    return chosen[0]


def _downloaded(what: str, repo: str, offline: bool) -> Path:
    """The file of a LoRA of the hub, from the cache if it is there."""
    for folder in cache.snapshots(repo):
        if any(p.exists() for p in folder.glob(f"*{SUFFIX}")):
            return _file_in(what, folder)
    advice = "Or pass the file"
    return _file_in(what, hub.download(what, repo, (repo,), offline, advice, _fetch).folder)


def _fetch(name: str, repo: str) -> Path | str:
    """Download the one file of a LoRA; see `hub.fetch_model`."""
    import huggingface_hub

    sizes = hub.files_of(repo)
    files = [f for f in sizes if "/" not in f and f.endswith(SUFFIX)]
    chosen = [f for f in FILES if f in files] or files
    if len(chosen) != 1:
        found = f"{len(chosen)} of them; download one, and pass the file"
        return f"expected one {SUFFIX} file in it, found {found if chosen else 'none'}"
    hub.announce(repo, hub.card_folder(repo, sizes), sizes[chosen[0]] or 0)
    chosen = [*chosen, "README.md"]
    return Path(
        huggingface_hub.snapshot_download(repo, allow_patterns=chosen, etag_timeout=hub.CONNECT_S)
    )


_WHOLE = "a whole model, not a LoRA; pass it with --prior"
_PLAIN = "pass a plain LoRA as a .safetensors file"
