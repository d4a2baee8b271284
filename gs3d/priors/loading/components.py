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
from gs3d.priors.families import Family, family_of, known
from gs3d.priors.families.base import AUTOENCODERS as AUTOENCODERS
from gs3d.priors.families.base import BACKBONES, NETWORKS, TEXT_ENCODERS
from gs3d.priors.families.builtin import BUILTIN
from gs3d.priors.images import downsampling
from gs3d.priors.loading.headers import read_object
from gs3d.priors.loading.parts import (
    check_sentencepiece,
    load_network,
    load_part,
    quiet,
    usable,
)
from gs3d.priors.loading.schedulers import (
    check_scaling,
    check_scheduler,
    edm_scaling,
    scaling_of,
)
from gs3d.priors.network import Network, TextEncoder
from gs3d.priors.plain.reading import Place, read_networks
from gs3d.priors.scalings import Scaling
from gs3d.priors.text.building import build_text
from gs3d.priors.text.several import TextEncoders, tokenizer_of

if TYPE_CHECKING:
    from gs3d.priors.files.lora import Lora
    from gs3d.priors.network import Autoencoder, Backbone

TOKENIZERS = tuple(map(tokenizer_of, TEXT_ENCODERS))


@dataclass(frozen=True)
class Source:
    """Local folder of a prior's weights, or of one of its parts."""

    name: str
    """Name, hub id or folder as the user gave it."""
    folder: Path
    repo: str | None = None
    """Hub id of a download; `folder` is then a snapshot in the Hugging Face cache."""
    download_s: float = field(default=0.0, compare=False)
    """Seconds that it has just taken to download or convert, 0 if it was there."""
    loras: tuple["Lora", ...] = ()
    """Changes to the weights, added when the model is loaded."""

    @cached_property
    def index(self) -> dict[str, tuple[str, str]]:
        """Part → (library, class). `UserError` if gs3d cannot use the model."""
        return read_index(self.folder, self.name)

    @cached_property
    def family(self) -> Family:
        """How the model is read and called."""
        return family_of(read_object(self.folder / "model_index.json", f"prior {self.name}"))

    @property
    def in_pixels(self) -> bool:
        """Whether the model works on pixels, without an autoencoder."""
        return "vae" not in self.index

    @property
    def is_like_builtin(self) -> bool:
        """Whether the presets of the built-in prior fit: models of renders, on pixels."""
        return self.in_pixels and not self.family.of_photographs

    @cached_property
    def image_size(self) -> int | None:
        """Side of the images in pixels, as the files say. None if they do not, which shows when the
        model is loaded."""
        what = f"prior {self.name}: its"
        part = backbone_part(self.index)
        network = read_object(self.folder / f"{part}" / "config.json", f"{what} {part}")
        try:
            side = self.family.shape(network)[2]
            if self.in_pixels:
                return int(side)
            vae = read_object(self.folder / "vae" / "config.json", f"{what} vae")
            return int(side * downsampling(vae))
        except (KeyError, TypeError, ValueError):
            return None

    @cached_property
    def views(self) -> int:
        """Number of views that the model denoises together."""
        return max(views_of(self.folder), self.family.views)


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
        side = self.family.shape(self.backbone.config)[2]
        factor = 1 if self.vae is None else downsampling(cast(Any, self.vae.config))
        return Network(self.backbone, self.scaling, self.family.predict, side * factor)

    @property
    def family(self) -> Family:
        return self.source.family


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
    backbone, family = backbone_part(index), family_of(tree)
    needed = [part for part in family.parts if part in index or part not in family.optional]
    encoders = [part for part in TEXT_ENCODERS if part in needed]
    rest = [part for part in ("vae",) if part in needed]
    needed = [*encoders, *map(tokenizer_of, encoders), "scheduler", *rest]
    missing = [part for part in needed if part not in index]
    if backbone is None:
        missing.insert(0, " or ".join(BACKBONES))
    if missing:
        raise UserError(
            f"prior {name}: a {shown(tree.get('_class_name', 'unknown'), 60)} has no "
            f"{', '.join(missing)}; expected a model like {known()}, "
            "with one denoising network and its text encoders"
        )
    for part in (*NETWORKS, *family.parts):
        supported = family.parts.get(part, ())
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
        return "; it is a LoRA, which changes a model: pass it with --lora"
    if "config.json" in names:
        config = read_object(folder / "config.json", f"prior {folder}")
        kind = config.get("_class_name") or config.get("model_type")
        return f"; it is one part, a {shown(kind, 60)}" if kind else ""
    single = sorted(n for n in names if n.endswith((".safetensors", ".ckpt")))
    if single and single[0].endswith(".safetensors"):
        return f"; if {shown(single[0], 60)} is a whole checkpoint, pass that file"
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
    text_on_cpu: bool = False,
    plain: bool = False,
) -> Components:
    """Load all parts of the model in `source.folder`; a given `vae` replaces the model's own.

    With `text_on_cpu`, the text encoders are not on `device`, and a CLIP is in float32.
    `vae_dtype` is also that of a network that was trained in bfloat16 and of a T5, whose sums
    overflow float16. With `plain`, a model like the built-in prior gets the networks of
    `priors.plain`, which compute the same. Reads local files only. Raises `UserError` if a part is
    missing, unknown or damaged.
    """
    place = torch.device("cpu") if text_on_cpu else device
    text_kind = torch.float32 if text_on_cpu else dtype
    found = plain and vae is None and read_plain(source, (device, dtype), (place, text_kind))
    if found:
        return found
    with deferred():
        import diffusers
        import transformers

    index, family = source.index, source.family
    with quiet():
        # The small files come first: a fault in them is found before gigabytes are read.
        texts = [part for part in TEXT_ENCODERS if part in index]
        tokenizers = {part: _read_tokenizer(source, tokenizer_of(part)) for part in texts}
        check_scheduler(*_place(source, "scheduler"), index["scheduler"][1])
        cls = getattr(diffusers, index["scheduler"][1], None)
        scheduler = load_part(*_place(source, "scheduler"), cls)
        encoders: dict[str, tuple[Any, Any]] = {}
        for part, tokenizer in tokenizers.items():
            cls, kind = getattr(transformers, index[part][1]), text_kind
            if index[part][1].startswith("T5"):
                # In float32 the largest would take 19 GB.
                kind = torch.bfloat16 if text_on_cpu else vae_dtype
            model = load_network(*_place(source, part), cls, place, kind, text=True)
            encoders[part] = (model, tokenizer)
        part = backbone_part(index)
        assert part is not None  # `read_index` refuses a model without a backbone.
        cls = family.network_class(index[part][1])
        kind = vae_dtype if family.is_bfloat16 else dtype
        backbone = load_network(*_place(source, part), cls, device, kind)
        if vae is None and "vae" in index:
            cls = getattr(diffusers, index["vae"][1])
            vae = load_network(*_place(source, "vae"), cls, device, vae_dtype)
    text = build_text(source.name, source.folder, family, encoders, backbone.config)
    with usable(f"prior {source.name}: its scheduler"):
        scaling = scaling_of(scheduler, source.name)
    check_scaling(source.name, scaling, family)
    return Components(source, backbone, vae, text, scaling)


def read_plain(source: Source, network: Place, text: Place) -> Components | None:
    """The model in the classes of `priors.plain`, if they fit its files."""
    classes = {part: source.index.get(part, ("", ""))[1] for part in ("scheduler", *NETWORKS)}
    if source.family is not BUILTIN or source.loras or classes["vae"]:
        return None
    if source.index["tokenizer"][1] != "PreTrainedTokenizerFast":
        return None
    what, folder = _place(source, "scheduler")
    check_scheduler(what, folder, classes["scheduler"])
    scaling = edm_scaling(read_object(folder / "scheduler_config.json", what))
    if scaling is None or (networks := read_networks(source.folder, network, text)) is None:
        return None
    backbone, encoder, tokenizer = networks
    # They have what is used of the classes of transformers.
    text_encoder = TextEncoder(cast(Any, encoder), cast(Any, tokenizer))
    return Components(source, backbone, None, text_encoder, scaling)


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
    check_sentencepiece(what, folder)
    # Without the option, transformers asks whether to run code of the folder, and waits.
    return load_part(what, folder, cls, trust_remote_code=False)
