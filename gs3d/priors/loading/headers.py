"""What config.json and the headers of weight files say, before anything is built from them."""

import json
import re
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn.modules import module as hooks

from gs3d.core.errors import UserError, shown

FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""Types of weights in safetensors files. Others are those of quantized copies."""
NOT_WEIGHTS = ("position_ids", "mesh_decoder.cases", "mesh_decoder.masks")
"""Ends of the names of tensors of another type, which are no weights."""
SIZES = r"channels|dim|embeddings|groups|heads|_size"
"""Pattern of the settings that are sizes of tensors, or at most as large."""
USUAL = 4096
"""Sizes up to here pass whatever the weights: an image's side can be larger than any tensor's."""
MORE, SOME_PARTS, SOME_NUMBERS = 8, 1000, 2**22
"""How much larger than its weights a network may become while it is built."""
POINTER = b"version https://git-lfs"
"""Beginning of the file that Git LFS leaves in place of a large one."""
HEADER_BYTES = 2**24
"""Largest header that is read. That of the largest models has less than a megabyte a file; the
library safetensors reads 100, which become gigabytes of Python's objects."""


@dataclass(frozen=True)
class Tensors:
    """Names, types and shapes of the tensors in some weight files."""

    types: dict[str, str]
    shapes: dict[str, list[int]]

    @property
    def largest(self) -> int:
        return max((size for shape in self.shapes.values() for size in shape), default=0)


def read_object(path: Path, what: str) -> dict[str, Any]:
    """The JSON object in a file. `UserError`, whose message begins with `what`, if it has none."""
    if not path.exists():
        raise UserError(f"{what}: {path.name} is missing; download the model again")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{what}: {path.name} cannot be read ({shown(error, 100)}); download the model again"
        ) from None
    if not isinstance(tree, dict):
        raise UserError(f"{what}: {path.name} is no JSON object; download the model again")
    return cast("dict[str, Any]", tree)


def check_headers(what: str, folder: Path, files: Iterable[Path]) -> Tensors:
    """Compare config.json in `folder` with the headers of the safetensors `files`.

    Raises `UserError`, whose message begins with `what`, for weights that are not floating-point
    numbers, and for sizes far above those of the weights: a library that builds a network before
    it opens its weights would fill the memory.
    """
    config = read_object(folder / "config.json", what)
    if config.get("quantization_config") is not None:
        raise UserError(f"{what} is quantized (quantization_config); use the plain model")
    tensors = _tensors(what, files)
    for name, kind in tensors.types.items():
        if kind not in FLOATS and not name.endswith(NOT_WEIGHTS):
            raise UserError(
                f"{what} has weights of the type {shown(kind)} ({shown(name, 60)}), as a quantized "
                "copy has them; use the plain model"
            )
    largest = tensors.largest
    for key, value in _integers(config):
        if "layers" in key and value > len(tensors.shapes):
            raise UserError(
                f"{what} has {_short(value)} layers ({shown(key)}) in its config.json, but "
                f"{len(tensors.shapes)} tensors of weights; download the model again"
            )
        # SD3's table of positions has as many rows as a square of this side.
        size = value**2 if key == "pos_embed_max_size" and value < USUAL else value
        if re.search(SIZES, key) and size > max(largest, USUAL):
            raise UserError(
                f"{what} has {shown(key)} {_short(value)} in its config.json, but the largest size "
                f"of its weights is {largest}; download the model again"
            )
    return tensors


@contextmanager
def bounded(what: str, tensors: Tensors) -> Generator[None, None, None]:
    """Stop building a network, in this thread, that becomes far larger than its weights.

    A number of layers with some zeros too many would take hours and all memory.
    """
    most_parts = MORE * len(tensors.shapes) + SOME_PARTS
    most_numbers = MORE * sum(map(prod, tensors.shapes.values())) + SOME_NUMBERS
    parts, numbers, thread = 0, 0, threading.get_ident()

    def count(_: torch.nn.Module, name: str, part: Any) -> None:
        nonlocal parts, numbers
        if threading.get_ident() != thread or part is None:
            return
        parts += 1
        numbers += part.numel() if isinstance(part, torch.Tensor) else 0
        if parts > most_parts or numbers > most_numbers:
            raise UserError(
                f"{what} becomes far larger by its config.json than its {len(tensors.shapes)} "
                "tensors of weights; download the model again"
            )

    handles = [
        hooks.register_module_module_registration_hook(count),
        hooks.register_module_parameter_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _tensors(what: str, files: Iterable[Path]) -> Tensors:
    types: dict[str, str] = {}
    shapes: dict[str, list[int]] = {}
    for file in files:
        try:
            header = read_header(what, file)
            for name, entry in header.items():
                if name != "__metadata__":
                    types[name], shapes[name] = str(entry["dtype"]), list(map(int, entry["shape"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"{what}: {file.name} is no safetensors file, or cut short; "
                "download the model again"
            ) from None
    return Tensors(types, shapes)


def read_header(what: str, file: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file. Raises ValueError or OSError, and `UserError` for a
    pointer of Git LFS."""
    with file.open("rb") as stream:
        head = stream.read(8)
        size = int.from_bytes(head, "little")
        if POINTER.startswith(head) and head:
            raise UserError(
                f"{what}: {file.name} is a pointer of Git LFS, not the file; "
                "run `git lfs pull` in the model's folder"
            )
        if size > min(file.stat().st_size, HEADER_BYTES):
            raise ValueError("header too large")
        return json.loads(stream.read(size))


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


def _short(value: int) -> str:
    return str(value) if value < 10**9 else f"{value:.0e}" if value < 10**300 else "over 1e300"
