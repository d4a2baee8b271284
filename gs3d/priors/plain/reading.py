# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# safetensors has no complete types.
"""Reading a model folder of the built-in prior without diffusers and transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gs3d.priors.loading.headers import FLOATS, read_header, read_object
from gs3d.priors.loading.parts import freeze
from gs3d.priors.loading.weights import weight_files
from gs3d.priors.plain.text import TextModel, Tokenizer, supports_text
from gs3d.priors.plain.transformer import Transformer, supports_transformer

Place = tuple[torch.device, torch.dtype]


def read_networks(
    folder: Path, network: Place, text: Place
) -> tuple[Transformer, TextModel, Tokenizer] | None:
    """The frozen transformer and text encoder of the model in `folder`, and its tokenizer.

    `network` and `text` say where the two compute, and in which precision.
    None if a file is not as `builtin.save` writes it: diffusers and transformers then read the
    folder, or tell what is wrong with it.
    """
    place = folder / "transformer", folder / "text_encoder"
    # Damaged files raise anything, such as the bare Exception of the library tokenizers.
    try:
        tokenizer = _tokenizer(folder / "tokenizer")
        configs = [read_object(p / "config.json", "") for p in place]
        if not (supports_transformer(configs[0]) and supports_text(configs[1])):
            return None
        with torch.device("meta"):
            backbone, encoder = Transformer(configs[0]), TextModel(configs[1])
        _fill(backbone, place[0], network[1])
        _fill(encoder, place[1], text[1])
    except Exception:
        return None
    return freeze(backbone, *network), freeze(encoder, *text, text=True), tokenizer


def _tokenizer(folder: Path) -> Tokenizer:
    config = read_object(folder / "tokenizer_config.json", "")
    names = (config["model_max_length"], config["pad_token"], config["unk_token"])
    return Tokenizer(folder / "tokenizer.json", *names)


def _fill(model: nn.Module, folder: Path, dtype: torch.dtype) -> None:
    """Read the weights of an empty `model`. Raises ValueError unless they fit and are finite."""
    from safetensors.torch import load_file

    file, *others = weight_files(folder, half=dtype == torch.float16)
    header: Mapping[str, Any] = read_header("", file)
    found = {k: tuple(v["shape"]) for k, v in header.items() if k != "__metadata__"}
    types = {v["dtype"] for k, v in header.items() if k != "__metadata__"}
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if others or found != expected or not types <= {*FLOATS}:
        raise ValueError("weights of another network")
    weights = {name: value.to(dtype) for name, value in load_file(file).items()}
    if not all(value.isfinite().all() for value in weights.values()):
        raise ValueError("NaN or infinite weights")
    model.load_state_dict(weights, assign=True)
