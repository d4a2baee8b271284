"""Weight files of a model folder: which of several copies are read."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

STEM = "(model|diffusion_pytorch_model)"
SHARD = r"-\d+-of-\d+"
UNREAD = ("non_ema",)
"""Variants that are not for inference."""


def weight_names(names: Iterable[str], variant: str) -> list[str]:
    """Names of the safetensors files of one variant of a part's weights ("fp16"; "" is the plain
    one).

    Sharded weights come with their index. Pickles are left out.
    """
    v, shard = (re.escape(f".{variant}") if variant else ""), f"({SHARD})?"
    pattern = rf"{STEM}({v}{shard}|{shard}{v})\.safetensors|{STEM}\.safetensors\.index{v}\.json"
    return sorted(n for n in names if re.fullmatch(pattern, n))


def variant_of(name: str) -> str | None:
    """Variant that the name of a weight file says, "" for none; None if it is no weight file."""
    match = re.fullmatch(rf"{STEM}({SHARD})?(\.(\w+?))?({SHARD})?\.safetensors", name)
    return None if match is None else match[4] or ""


def chosen_variant(names: Iterable[str], half: bool) -> str | None:
    """The variant that is read: fp16 if `half` and it exists, else the plain one, else fp16, else
    the first of the others by name, such as bf16. None if there are no weights."""
    found = {v for n in names if (v := variant_of(n)) is not None and v not in UNREAD}
    preferred = ("fp16", "") if half else ("", "fp16")
    return next((v for v in (*preferred, *sorted(found)) if v in found), None)


def chosen_weights(names: Iterable[str], half: bool) -> list[str]:
    """Names of the files of `chosen_variant`; empty if there are no weights."""
    names = list(names)
    variant = chosen_variant(names, half)
    return [] if variant is None else weight_names(names, variant)


def weight_files(folder: Path, half: bool) -> list[Path]:
    """Files of one part's weights in `folder`; empty if there are none.

    A link to a file that is gone, which an interrupted download can leave in a cache, counts as
    absent.
    """
    return [folder / n for n in chosen_weights(_files(folder), half)]


def is_whole(folder: Path, half: bool) -> bool:
    """Whether `folder` has a part's weights, with every shard that their index names."""
    files = weight_files(folder, half)
    names = {f.name for f in files}
    needed = {f.name for f in files if f.suffix == ".safetensors"}
    for index in (f for f in files if f.suffix == ".json"):
        try:
            needed |= set(json.loads(index.read_text("utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
    sharded = any(re.search(SHARD, n) for n in names)
    has_index = any(n.endswith(".json") for n in names)
    return bool(needed) and needed <= names and (has_index or not sharded)


def facts_of(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and modification time of each file, to tell weights apart.

    Hashing gigabytes would take minutes.
    """
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _files(folder: Path) -> list[str]:
    return [p.name for p in folder.glob("*") if p.is_file()]
