"""Reading the parts of a diffusers model folder by its model_index.json.

The built-in prior and Stable Diffusion are read the same way.
"""

import json
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

import torch

from gs3d.core.cameras import GROUP
from gs3d.core.errors import UserError
from gs3d.priors.images import memory_format
from gs3d.priors.loading.schedulers import scaling_of
from gs3d.priors.network import TextEncoder
from gs3d.priors.scalings import Scaling

if TYPE_CHECKING:
    from gs3d.priors.network import Autoencoder, Backbone

AnyModule = TypeVar("AnyModule", bound=torch.nn.Module)
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
            f"prior {name}: not a diffusers model folder (it has no model_index.json); "
            "pass a folder that contains one"
        )
    try:
        tree: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
        index = {k: (v[0], v[1]) for k, v in tree.items() if _names_class(v)}
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"prior {name}: model_index.json cannot be read ({error}); download the model again"
        ) from None
    missing = [part for part in REQUIRED if part not in index]
    if backbone_part(index) is None:
        missing.insert(0, " or ".join(BACKBONES))
    if missing or "text_encoder_2" in index:
        pipeline = tree.get("_class_name", "unknown")
        found = f"no {', '.join(missing)}" if missing else "two text encoders"
        raise UserError(
            f"prior {name}: a {pipeline} has {found}; expected a model with one denoising network "
            "and one text encoder, such as Stable Diffusion 1.5 or 2.1"
        )
    for part, supported in CLASSES.items():
        if part in index and index[part][1] not in supported:
            raise UserError(
                f"prior {name}: its {part} is a {index[part][1]}; "
                f"expected {' or '.join(supported)}; use another model"
            )
    return index


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
    views = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("views", 1)
    if type(views) is not int or views not in (1, GROUP):
        raise UserError(
            f'prior {folder}: its model_index.json has "views": {views!r}; '
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
    import diffusers
    import transformers

    folder, index = source.folder, source.index
    with quiet():
        tokenizer = _load_part(
            folder,
            "tokenizer",
            getattr(transformers, index["tokenizer"][1], transformers.AutoTokenizer),
        )
        scheduler = _load_part(folder, "scheduler", getattr(diffusers, index["scheduler"][1], None))
        text_encoder = _load_network(
            folder, "text_encoder", getattr(transformers, index["text_encoder"][1]), device, dtype
        )
        part = backbone_part(index)
        assert part is not None  # `read_index` refuses a model without a backbone.
        backbone = _load_network(
            folder, part, getattr(diffusers, index[part][1], None), device, dtype
        )
        if vae is None and "vae" in index:
            vae = _load_network(
                folder, "vae", getattr(diffusers, index["vae"][1]), device, vae_dtype
            )
    return Components(
        source,
        backbone,
        vae,
        TextEncoder(text_encoder, tokenizer),
        scaling_of(scheduler, str(folder)),
    )


def weight_names(names: Iterable[str], variant: str) -> list[str]:
    """Names of the safetensors files of one precision of a part's weights (`variant` "fp16" or "").

    Sharded weights come with their index. Pickles are left out, and so are `non_ema` and other
    copies, which are not for inference.
    """
    v, shard = (re.escape(f".{variant}") if variant else ""), r"(-\d+-of-\d+)?"
    stem = "(model|diffusion_pytorch_model)"
    pattern = rf"{stem}({v}{shard}|{shard}{v})\.safetensors|{stem}\.safetensors\.index{v}\.json"
    return sorted(n for n in names if re.fullmatch(pattern, n))


def chosen_weights(names: Iterable[str], half: bool) -> list[str]:
    """File names of the fp16 variant if `half` and it exists, else the plain one, else fp16."""
    names = list(names)
    plain, fp16 = weight_names(names, ""), weight_names(names, "fp16")
    return fp16 if fp16 and (half or not plain) else plain


def weight_files(folder: Path, half: bool) -> list[Path]:
    """Files of one part's weights in `folder`; empty if there are none."""
    return [folder / n for n in chosen_weights((p.name for p in folder.glob("*")), half)]


def facts_of(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and modification time of each file, to tell weights apart.

    Hashing gigabytes would take minutes.
    """
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _load_network(
    folder: Path, part: str, cls: Any, device: torch.device, dtype: torch.dtype
) -> Any:
    """Load one network, frozen.

    The cast to `dtype` follows the loading: the argument that casts while loading is `torch_dtype`
    in some of the library versions that gs3d allows and `dtype` in others. The weights are memory
    mapped either way.
    """
    files = weight_files(folder / part, half=dtype == torch.float16)
    if not files:
        raise UserError(
            f"prior {folder}: no .safetensors weights in {part}/; "
            "download the model again with its safetensors files"
        )
    model = _load_part(
        folder,
        part,
        cls,
        variant="fp16" if ".fp16" in files[0].name else None,
        use_safetensors=True,
    )
    return freeze(model, device, dtype, text=part == "text_encoder")


def freeze(
    model: AnyModule, device: torch.device, dtype: torch.dtype, text: bool = False
) -> AnyModule:
    """Move `model` to its device and freeze it, in evaluation mode.

    Networks on images get the device's memory format; `text` leaves the layout unchanged.
    """
    model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
    if not text:
        # torch's types have no `memory_format` here. The call changes the model in place.
        cast(Any, model).to(memory_format=memory_format(device))
    return model


def _load_part(folder: Path, part: str, cls: Any, **options: Any) -> Any:
    """`cls.from_pretrained` of one subfolder; raises `UserError` for any failure."""
    if cls is None:
        raise UserError(
            f"prior {folder}: the installed diffusers does not know the class of its {part}; "
            "upgrade diffusers"
        )
    try:
        return cls.from_pretrained(folder, subfolder=part, local_files_only=True, **options)
    # Damaged files raise anything from OSError to the tokenizers library's bare Exception.
    except Exception as error:
        reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
        raise UserError(
            f"prior {folder}: its {part} cannot be loaded ({reason}); download the model again"
        ) from error


@contextmanager
def quiet() -> Generator[None, None, None]:
    """Silence progress bars and notes about unused weights of diffusers and transformers.

    The previous settings are restored on exit.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_level = diffusers_logging.get_verbosity()
    transformers_level = transformers_logging.get_verbosity()
    progress_bars = transformers_logging.is_progress_bar_enabled()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(diffusers_level)
        transformers_logging.set_verbosity(transformers_level)
        if progress_bars:
            transformers_logging.enable_progress_bar()
