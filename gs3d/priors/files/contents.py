"""What a safetensors file holds, from its header alone, and what to say of a file that holds
something else."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

from gs3d.core.errors import UserError, shown
from gs3d.priors.loading.headers import Tensors, read_header

SUFFIX = ".safetensors"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
"""Suffixes of files of torch.save."""
ZIP, PICKLE = b"PK\x03\x04", b"\x80"
"""How the files of torch.save begin, the new and the old ones."""
BITS = {"F64": 64, "F32": 32, "I64": 64, "I32": 32, "F16": 16, "BF16": 16, "I16": 16}
"""Type in a safetensors header → its size. All others are read as 8 bits."""
LORA = re.compile(
    r"(^|[._])lora_(up|down|A|B)\.|[._]lora\.(up|down)\.|[._]lora_linear_layer\.(up|down)\."
)
"""Part of the name of every weight of a LoRA, apart from its scale."""
OTHER_ADAPTERS = re.compile(r"\.(hada_|lokr_|oft_|glora_|dora_scale|lora_magnitude)|^lora_.*\.diff")
"""Part of the names of weights of changes to a model that are no plain LoRA."""
NETWORK = "model.diffusion_model."
"""Beginning of the names of the denoising network's weights, in a checkpoint in one file."""
OTHER_PARTS = ("first_stage_model.", "vae.", "cond_stage_model.", "conditioner.", "text_encoders.")
"""The same for autoencoders and text encoders."""
KINDS: tuple[tuple[str, str], ...] = (
    (
        LORA.pattern,
        "a LoRA, which changes a model: pass a model with --prior, and this with --lora",
    ),
    (OTHER_ADAPTERS.pattern, "a change to a model (LoHa, LoKr, DoRA or the like)"),
    (r"^control_|^controlnet_|input_hint_block", "a ControlNet"),
    (r"motion_modules\.", "a motion module of AnimateDiff"),
    (r"(^|\.)joint_blocks\.", "a Stable Diffusion 3"),
    (r"(^|\.)(double_blocks|double_stream_blocks|single_blocks)\.", "a FLUX"),
    (r"^conditioner\.embedders\.0\.model\.", "a refiner of Stable Diffusion XL"),
    (r"^edm_mean$|^edm_vpred\.", "a model with EDM noise (Playground 2.5 or CosXL)"),
    (r"^(emb_params|string_to_param|clip_[lg]$)", "a textual inversion, which adds a word"),
    (r"^cond_stage_model\.transformer\.(embeddings|encoder)\.", "a checkpoint in an older layout"),
    (r"^model\.diffusion_model\.input_blocks\.|^input_blocks\.", "a U-Net, one part of a model"),
    (r"^model\.diffusion_model\.", "a network of another architecture"),
    (
        r"^(unet\.)?(down_blocks|mid_block|add_embedding|time_embedding)\.",
        "a U-Net, one part of a model",
    ),
    (r"^(transformer_blocks|single_transformer_blocks)\.", "a transformer, one part of a model"),
    (
        r"^(first_stage_model|vae)\.|^(en|de)coder\.(down|up|mid|conv_)",
        "an autoencoder, one part of a model",
    ),
    (
        r"^(text_model|cond_stage_model|te|conditioner)\.|^encoder\.block\.",
        "a text encoder, one part of a model",
    ),
    (r"^(transformer\.)?(resblocks|text_model)\.|^shared\.", "a text encoder, one part of a model"),
)
"""Pattern of names of tensors → what a file with one of them is; the first that fits counts."""


@dataclass(frozen=True)
class Contents:
    """The header of a safetensors file."""

    tensors: Tensors
    metadata: dict[str, str]

    @property
    def names(self) -> Iterable[str]:
        return self.tensors.shapes.keys()

    def numbers(self, *prefixes: str) -> int:
        """How many numbers the tensors hold whose names begin with one of the prefixes."""
        shapes = self.tensors.shapes
        return sum(prod(shape) for name, shape in shapes.items() if name.startswith(prefixes))

    def widest(self, *prefixes: str) -> str:
        """The type of most bits among the floating-point tensors below the prefixes, such as F16.

        bfloat16 and float16 together count as F32, which holds both.
        """
        kinds = {t for n, t in self.tensors.types.items() if n.startswith(prefixes)}
        kinds = {kind for kind in kinds if kind.startswith(("F", "BF"))}
        if {"F16", "BF16"} <= kinds:
            return "F32"
        return max(sorted(kinds), key=_bits, default="F32")


def read_contents(what: str, file: Path) -> Contents:
    """The header of `file`, which must be a whole safetensors file.

    Raises:
        UserError: It is something else or cut short. The message begins with `what`.
    """
    check_suffix(what, file)
    again = "download it again"
    try:
        size = file.stat().st_size
        if not size:
            raise UserError(f"{what}: the file is empty; {again}")
        header = read_header(what, file)
        tree = {k: v for k, v in header.items() if k != "__metadata__"}
        types = {name: str(entry["dtype"]) for name, entry in tree.items()}
        shapes = {name: [int(n) for n in entry["shape"]] for name, entry in tree.items()}
        ends = [int(entry["data_offsets"][1]) for entry in tree.values()]
        with file.open("rb") as stream:
            expected = 8 + int.from_bytes(stream.read(8), "little") + max(ends, default=0)
    except OSError as error:
        raise UserError(f"{what}: cannot be read ({error.strerror or shown(error)})") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{what}: {_not_safetensors(file, again)}") from None
    if size < expected:
        raise UserError(
            f"{what}: the file is cut short, {size:,} of {expected:,} bytes; {again}"
        ) from None
    if not tree:
        raise UserError(f"{what}: the file holds no weights; {again}")
    return Contents(Tensors(types, shapes), _metadata(header))


def check_suffix(what: str, file: Path) -> None:
    """`UserError`, which begins with `what`, unless the name of `file` is that of safetensors."""
    suffix = file.suffix.lower()
    if suffix in PICKLES:
        raise UserError(f"{what}: {_pickle()}")
    if suffix == ".gguf":
        raise UserError(
            f"{what}: a quantized file (.gguf), which gs3d does not read; use the plain model"
        )
    if suffix != SUFFIX:
        raise UserError(
            f"{what}: a {f'{suffix} file' if suffix else 'file without a suffix'}, not a model; "
            f"expected {SUFFIX} or a folder"
        )


def kind_of(names: Iterable[str]) -> str:
    """What a file with tensors of these names is, for a message; "" if that is unknown."""
    names = list(names)
    for pattern, kind in KINDS:
        if any(re.search(pattern, name) for name in names):
            return kind
    return ""


def is_whole_model(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names has a denoising network and more of a model."""
    names = list(names)
    return all(any(name.startswith(part) for name in names) for part in (NETWORK, OTHER_PARTS))


def is_lora(names: Iterable[str]) -> bool:
    """Whether a file with tensors of these names is a LoRA."""
    return any(LORA.search(name) for name in names)


def sha256_of(path: Path) -> str:
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


def _bits(kind: str) -> int:
    return BITS.get(kind, 8)


def _metadata(header: dict[str, Any]) -> dict[str, str]:
    """Texts that the maker of the file wrote into its header."""
    found = header.get("__metadata__")
    if not isinstance(found, dict):
        return {}
    return {str(key): str(value) for key, value in cast("dict[Any, Any]", found).items()}


def _pickle() -> str:
    return (
        "a pickle (.ckpt, .pt or .bin), which can run any code when it is read, so gs3d does not "
        "open it; get the .safetensors file of the same model"
    )


def _not_safetensors(file: Path, again: str) -> str:
    with file.open("rb") as stream:
        head = stream.read(64)
    if head.startswith((ZIP, PICKLE)):
        return _pickle()
    try:
        text = head.decode()
    except UnicodeDecodeError:
        text = ""
    if not text[:8].strip().isprintable() or len(text.strip()) < 2:
        return f"no safetensors file; {again}"
    return f"no safetensors file but text ({shown(text)}), maybe the message of a server; {again}"
