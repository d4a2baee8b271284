"""Reading the parts of a diffusers model folder by its model_index.json.

The built-in prior and Stable Diffusion are read the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, cast

import torch

from gs3d.core.cameras import GROUP
from gs3d.core.errors import UserError, shown
from gs3d.core.runtime.interrupts import deferred
from gs3d.priors.loading.headers import read_object
from gs3d.priors.loading.parts import load_network, load_part, quiet, usable
from gs3d.priors.loading.schedulers import check_scheduler, scaling_of
from gs3d.priors.network import TextEncoder
from gs3d.priors.scalings import Scaling

if TYPE_CHECKING:
    from gs3d.priors.network import Autoencoder, Backbone

CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
}
"""Part → supported model classes. `read_index` refuses any other class."""
BACKBONES = ("unet", "transformer")
"""Names of the denoising network; a model has one of them."""
REQUIRED = ("text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class Source:
    """Local folder of a prior's weights, or of one of its parts."""

    name: str
    """Name, hub id or folder as the user gave it."""
    folder: Path
    repo: str | None = None
    """Hub id of a download; `folder` is then a snapshot in the Hugging Face cache."""

    @cached_property
    def index(self) -> dict[str, tuple[str, str]]:
        """Part → (library, class). `UserError` if gs3d cannot use the model."""
        return read_index(self.folder, self.name)

    @property
    def in_pixels(self) -> bool:
        """Whether the model works on pixels, without an autoencoder."""
        return "vae" not in self.index

    @cached_property
    def views(self) -> int:
        """Number of views that the model denoises together."""
        return views_of(self.folder)


@dataclass(frozen=True)
class Components:
    """Parts of a prior: on their device, in evaluation mode, with frozen weights."""

    source: Source
    backbone: "Backbone"
    vae: "Autoencoder | None"
    text: TextEncoder
    scaling: Scaling


def read_index(folder: Path, name: str | None = None) -> dict[str, tuple[str, str]]:
    """Part → (library, class) of the model in `folder`.

    Raises `UserError`, with `name` in its message, if gs3d cannot use the model.
    """
    path, name = folder / "model_index.json", name or str(folder)
    if not path.is_file():
        raise UserError(
            f"prior {name}: not a diffusers model folder (it has no model_index.json"
            f"{_other_kind(folder)}); pass a folder that contains one"
        )
    tree = read_object(path, f"prior {name}")
    index = {k: (v[0], v[1]) for k, v in tree.items() if _names_class(v)}
    missing = [part for part in REQUIRED if part not in index]
    if backbone_part(index) is None:
        missing.insert(0, " or ".join(BACKBONES))
    if missing or "text_encoder_2" in index:
        pipeline = shown(tree.get("_class_name", "unknown"), 60)
        found = f"no {', '.join(missing)}" if missing else "two text encoders"
        raise UserError(
            f"prior {name}: a {pipeline} has {found}; expected a model with one denoising network "
            "and one text encoder, such as Stable Diffusion 1.5 or 2.1"
        )
    for part, supported in CLASSES.items():
        if part in index and index[part][1] not in supported:
            raise UserError(
                f"prior {name}: its {part} is a {shown(index[part][1], 60)}; "
                f"expected {' or '.join(supported)}; use another model"
            )
    return index


def _other_kind(folder: Path) -> str:
    """What a folder without model_index.json is, for the message, if it can be told."""
    names = {p.name for p in folder.glob("*")}
    if "adapter_config.json" in names or any(n.startswith("pytorch_lora") for n in names):
        return "; it is a LoRA, which changes a model"
    if "config.json" in names:
        config = read_object(folder / "config.json", f"prior {folder}")
        kind = config.get("_class_name") or config.get("model_type")
        return f"; it is one part, a {shown(kind, 60)}" if kind else ""
    single = sorted(n for n in names if n.endswith((".safetensors", ".ckpt")))
    return f"; diffusers can convert {shown(single[0], 60)} to one" if single else ""


def _names_class(value: object) -> TypeGuard[list[str]]:
    """Whether an entry of model_index.json is [library, class]."""
    if not isinstance(value, list):
        return False
    items = cast("list[object]", value)
    return len(items) == 2 and all(isinstance(item, str) for item in items)


def views_of(folder: Path) -> int:
    """Number of views that the model in `folder` denoises jointly: "views" of its index, else 1.

    Raises `UserError` for a number other than 1 and 4.
    """
    views = read_object(folder / "model_index.json", f"prior {folder}").get("views", 1)
    if type(views) is not int or views not in (1, GROUP):
        raise UserError(
            f'prior {folder}: its model_index.json has "views": {shown(views)}; '
            f"expected 1 or {GROUP}; correct it or use another model"
        )
    return views


def backbone_part(names: Iterable[str]) -> str | None:
    """The one of BACKBONES that is among the part names of a model; None if there is none."""
    names = set(names)
    return next((part for part in BACKBONES if part in names), None)


def read(
    source: Source,
    device: torch.device,
    dtype: torch.dtype,
    vae_dtype: torch.dtype,
    vae: "Autoencoder | None" = None,
) -> Components:
    """Load all parts of the model in `source.folder`; a given `vae` replaces the model's own.

    Reads local files only. Raises `UserError` if a part is missing, unknown or damaged.
    """
    with deferred():
        import diffusers
        import transformers

    folder, index = source.folder, source.index

    def place(part: str) -> tuple[str, Path]:
        return f"prior {source.name}: its {part}", folder / part

    with quiet():
        cls = getattr(transformers, index["tokenizer"][1], transformers.AutoTokenizer)
        if not (folder / "tokenizer" / "vocab.json").exists():
            # transformers 4 has a class of its own for a tokenizer in one file.
            cls = getattr(transformers, f"{index['tokenizer'][1]}Fast", cls)
        # Without the option, transformers asks whether to run code of the folder, and waits.
        tokenizer = load_part(*place("tokenizer"), cls, trust_remote_code=False)
        check_scheduler(*place("scheduler"), index["scheduler"][1])
        cls = getattr(diffusers, index["scheduler"][1], None)
        scheduler = load_part(*place("scheduler"), cls)
        cls = getattr(transformers, index["text_encoder"][1])
        text_encoder = load_network(*place("text_encoder"), cls, device, dtype, text=True)
        part = backbone_part(index)
        assert part is not None  # `read_index` refuses a model without a backbone.
        cls = getattr(diffusers, index[part][1], None)
        backbone = load_network(*place(part), cls, device, dtype)
        if vae is None and "vae" in index:
            cls = getattr(diffusers, index["vae"][1])
            vae = load_network(*place("vae"), cls, device, vae_dtype)
    with usable(f"prior {source.name}: its tokenizer"):
        text = TextEncoder(text_encoder, tokenizer)
    with usable(f"prior {source.name}: its scheduler"):
        scaling = scaling_of(scheduler, source.name)
    return Components(source, backbone, vae, text, scaling)
