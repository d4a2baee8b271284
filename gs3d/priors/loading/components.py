"""Reading the parts of a diffusers model folder by its model_index.json.

The built-in prior and Stable Diffusion are read the same way.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import torch

from gs3d.core.cameras import GROUP
from gs3d.core.errors import UserError, shown
from gs3d.core.runtime.interrupts import deferred
from gs3d.priors.images import downsampling
from gs3d.priors.loading.headers import read_object
from gs3d.priors.loading.parts import load_network, load_part, quiet, usable
from gs3d.priors.loading.schedulers import check_scheduler, scaling_of
from gs3d.priors.network import Network, TextEncoder
from gs3d.priors.scalings import Scaling
from gs3d.priors.text.building import build_text
from gs3d.priors.text.several import TextEncoders, tokenizer_of

if TYPE_CHECKING:
    from gs3d.priors.network import Autoencoder, Backbone

UNET, TRANSFORMER = ("UNet2DConditionModel",), ("SD3Transformer2DModel",)
AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
WITH_POOLED = ("CLIPTextModelWithProjection",)
ONE_TEXT: dict[str, tuple[str, ...]] = {
    "unet": UNET,
    "transformer": TRANSFORMER,
    "vae": AUTOENCODERS,
    "text_encoder": ("CLIPTextModel",),
}
"""Part → supported classes of Stable Diffusion 1 and 2 and of the built-in prior."""
XL: dict[str, tuple[str, ...]] = {
    "unet": UNET,
    "vae": AUTOENCODERS,
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": WITH_POOLED,
}
"""The same of Stable Diffusion XL."""
SD3: dict[str, tuple[str, ...]] = {
    "transformer": TRANSFORMER,
    "vae": AUTOENCODERS,
    "text_encoder": WITH_POOLED,
    "text_encoder_2": WITH_POOLED,
    "text_encoder_3": ("T5EncoderModel",),
    "scheduler": ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"),
}
"""The same of Stable Diffusion 3 and 3.5."""
BACKBONES = ("unet", "transformer")
"""Names of the denoising network; a model has one of them."""
TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
TOKENIZERS = tuple(map(tokenizer_of, TEXT_ENCODERS))
NETWORKS = (*BACKBONES, "vae", *TEXT_ENCODERS)
"""Names of all parts with weights; a model has some of them."""


@dataclass(frozen=True)
class Source:
    """Local folder of a prior's weights, or of one of its parts."""

    name: str
    """Name, hub id or folder as the user gave it."""
    folder: Path
    repo: str | None = None
    """Hub id of a download; `folder` is then a snapshot in the Hugging Face cache."""
    download_s: float = field(default=0.0, compare=False)
    """Seconds that it has just taken to download, 0 if it was there."""

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
    text: TextEncoder | TextEncoders
    scaling: Scaling

    def network(self) -> Network:
        """The denoiser, for images of the network's own size."""
        side = cast(Any, self.backbone.config).sample_size
        factor = 1 if self.vae is None else downsampling(cast(Any, self.vae.config))
        return Network(self.backbone, self.scaling, self.text.pooled_width, side * factor)


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
    backbone = backbone_part(index)
    # A part that a pipeline can have, and this model does not, has null in place of its class.
    several = any(part in tree for part in TEXT_ENCODERS[1:])
    family = ONE_TEXT if not several else XL if backbone == "unet" else SD3
    # Stable Diffusion 3 can do without its third, a T5 of 10 GB in half precision.
    encoders = [p for p in TEXT_ENCODERS if p in family and (p in index or p != "text_encoder_3")]
    needed = [*encoders, *map(tokenizer_of, encoders), "scheduler", *(("vae",) if several else ())]
    missing = [part for part in needed if part not in index]
    if backbone is None:
        missing.insert(0, " or ".join(BACKBONES))
    if missing:
        raise UserError(
            f"prior {name}: a {shown(tree.get('_class_name', 'unknown'), 60)} has no "
            f"{', '.join(missing)}; expected a model like Stable Diffusion 1.5, 2.1, XL or 3.5, "
            "with one denoising network and its text encoders"
        )
    for part in (*NETWORKS, *family):
        supported = family.get(part, ())
        if part in index and index[part][1] not in supported:
            raise UserError(
                f"prior {name}: its {part} is a {shown(index[part][1], 60)}; "
                f"expected {' or '.join(supported) or 'none'}; use another model"
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

    `vae_dtype` is also that of Stable Diffusion 3 and of a T5, whose sums overflow float16. Reads
    local files only. Raises `UserError` if a part is missing, unknown or damaged.
    """
    with deferred():
        import diffusers
        import transformers

    index = source.index
    with quiet():
        # The small files come first: a fault in them is found before gigabytes are read.
        texts = [part for part in TEXT_ENCODERS if part in index]
        tokenizers = {part: _read_tokenizer(source, tokenizer_of(part)) for part in texts}
        check_scheduler(*_place(source, "scheduler"), index["scheduler"][1])
        cls = getattr(diffusers, index["scheduler"][1], None)
        scheduler = load_part(*_place(source, "scheduler"), cls)
        encoders: dict[str, tuple[Any, Any]] = {}
        for part, tokenizer in tokenizers.items():
            cls, kind = getattr(transformers, index[part][1]), dtype
            if index[part][1].startswith("T5"):
                kind = vae_dtype
            model = load_network(*_place(source, part), cls, device, kind, text=True)
            encoders[part] = (model, tokenizer)
        part = backbone_part(index)
        assert part is not None  # `read_index` refuses a model without a backbone.
        cls = getattr(diffusers, index[part][1], None)
        # Stable Diffusion 3 was trained in bfloat16.
        kind = vae_dtype if part == "transformer" and len(texts) > 1 else dtype
        backbone = load_network(*_place(source, part), cls, device, kind)
        if vae is None and "vae" in index:
            cls = getattr(diffusers, index["vae"][1])
            vae = load_network(*_place(source, "vae"), cls, device, vae_dtype)
    text = build_text(source.name, source.folder, encoders, backbone.config)
    with usable(f"prior {source.name}: its scheduler"):
        scaling = scaling_of(scheduler, source.name)
    return Components(source, backbone, vae, text, scaling)


def _place(source: Source, part: str) -> tuple[str, Path]:
    """Beginning of messages about a part, and its folder."""
    return f"prior {source.name}: its {part}", source.folder / part


def _read_tokenizer(source: Source, part: str) -> Any:
    import transformers

    (what, folder), name = _place(source, part), source.index[part][1]
    cls = getattr(transformers, name, transformers.AutoTokenizer)
    if not (folder / "vocab.json").exists():
        # transformers 4 has a class of its own for a tokenizer in one file.
        cls = getattr(transformers, f"{name}Fast", cls)
    # Without the option, transformers asks whether to run code of the folder, and waits.
    return load_part(what, folder, cls, trust_remote_code=False)
