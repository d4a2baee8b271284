"""Whether the sizes in a network's configuration fit its weights, before memory is taken."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from gs3d.core.errors import UserError

SIZES = r"channels|dim|embeddings|groups|heads|_size"
"""Pattern of the settings that are sizes of tensors, or at most as large."""
USUAL = 4096
"""Sizes up to here pass whatever the weights: an image's side can be larger than any tensor's."""


def check_sizes(what: str, folder: Path, files: Iterable[Path]) -> None:
    """Raise `UserError` if config.json in `folder` has more layers than there are tensors in the
    safetensors `files`, or a size above the largest of theirs.

    Each layer has weights. Libraries build a network before they open its weights, and a number
    of layers with some zeros too many would fill the memory for minutes. A damaged file is left
    to the library.
    """
    try:
        settings = list(_integers(json.loads((folder / "config.json").read_text("utf-8"))))
        shapes = [shape for f in files for shape in _shapes(f)]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return
    largest = max((size for shape in shapes for size in shape), default=0)
    for key, value in settings:
        if "layers" in key and value > len(shapes):
            raise UserError(
                f"{what} has {_short(value)} layers ({key}) in its config.json, but "
                f"{len(shapes)} tensors of weights; download the model again"
            )
        if re.search(SIZES, key) and value > max(largest, USUAL):
            raise UserError(
                f"{what} has {key} {_short(value)} in its config.json, but the largest size of its "
                f"weights is {largest}; download the model again"
            )


def _integers(tree: object, key: str = "") -> Iterator[tuple[str, int]]:
    """All integers of a JSON tree, each with the nearest key above it."""
    if isinstance(tree, dict):
        for name, value in cast("dict[str, object]", tree).items():
            yield from _integers(value, name)
    elif isinstance(tree, list):
        for value in cast("list[object]", tree):
            yield from _integers(value, key)
    elif isinstance(tree, int) and not isinstance(tree, bool):
        yield key, tree


def _shapes(file: Path) -> list[list[int]]:
    """Shapes of the tensors in a safetensors file, from its header."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = stream.read(min(size, file.stat().st_size))
    return [entry["shape"] for entry in json.loads(header).values() if "shape" in entry]


def _short(value: int) -> str:
    return str(value) if value < 10**9 else f"{value:.0e}" if value < 10**300 else "over 1e300"
