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


def variants(names: Iterable[str], half: bool) -> list[str]:
    """The variants among `names`, the preferred first: with `half` fp16, then the plain one; else
    the plain one, fp32, fp16. Others, such as bf16, follow by name."""
    found = {v for n in names if (v := variant_of(n)) is not None and v not in UNREAD}
    first = ("fp16", "", "fp32") if half else ("", "fp32", "fp16")
    return [v for v in first if v in found] + sorted(found - set(first))


def chosen_weights(names: Iterable[str], half: bool) -> list[str]:
    """Names of the files of the preferred variant; empty if there are no weights."""
    names = list(names)
    found = variants(names, half)
    return weight_names(names, found[0]) if found else []


def chosen_variant(folder: Path, half: bool) -> str | None:
    """The first variant in `folder` that is whole, else the first; None if there is none."""
    found = variants(_files(folder), half)
    return next((v for v in found if not lacking(folder, v)), found[0] if found else None)


def weight_files(folder: Path, half: bool) -> list[Path]:
    """Files of `chosen_variant`; empty if there are none.

    Shards that no index names, which an older copy may have left, do not count if there is a single
    file.
    """
    variant = chosen_variant(folder, half)
    if variant is None:
        return []
    files = [folder / n for n in weight_names(_files(folder), variant)]
    indexed = any(f.suffix == ".json" for f in files)
    single = [f for f in files if f.suffix == ".safetensors" and not re.search(SHARD, f.name)]
    return files if indexed or not single else single


def lacking(folder: Path, variant: str) -> list[str]:
    """Names of the files that the weights of a variant lack, such as shards that an index names.

    A link to a file that is gone, which an interrupted download can leave in a cache, counts as
    absent.
    """
    names = set(weight_names(_files(folder), variant))
    indices = [n for n in names if n.endswith(".json")]
    needed: set[str] = set()
    for index in indices:
        try:
            tree = json.loads((folder / index).read_text("utf-8"))
            needed |= set(map(str, tree["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return [index]
    weights = {n for n in names if n.endswith(".safetensors")}
    if not indices and not any(re.search(SHARD, n) is None for n in weights):
        return [f"the index of {min(weights)}"] if weights else ["any .safetensors file"]
    return sorted(needed - weights)


def is_whole(folder: Path, half: bool) -> bool:
    """Whether `folder` has a part's weights, with every shard that their index names."""
    variant = chosen_variant(folder, half)
    return variant is not None and not lacking(folder, variant)


def facts_of(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and modification time of each file, to tell weights apart.

    Hashing gigabytes would take minutes.
    """
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _files(folder: Path) -> list[str]:
    return [p.name for p in folder.glob("*") if p.is_file()]
