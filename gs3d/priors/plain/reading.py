# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# safetensors has no complete types.
"""Reading a model folder of the built-in prior without diffusers and transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from gs3d.priors.loading.headers import bounded, check_headers, read_object
from gs3d.priors.loading.parts import freeze
from gs3d.priors.loading.weights import weight_files
from gs3d.priors.plain.text import PREFIX, TextModel, Tokenizer, supports_text
from gs3d.priors.plain.transformer import Transformer, supports_transformer

TOKENIZER, CONFIG = "tokenizer.json", "tokenizer_config.json"
CLASSES = ("TokenizersBackend", "PreTrainedTokenizerFast")
"""What transformers 5 and 4 call a tokenizer that is all in `TOKENIZER`."""
SETTINGS = {
    *("backend", "bos_token", "eos_token", "model_max_length", "pad_token", "tokenizer_class"),
    "unk_token",
}
"""Settings of a tokenizer, all of which `Tokenizer` has or does not need."""
Network = TypeVar("Network", bound=nn.Module)
Place = tuple[torch.device, torch.dtype]


def read_networks(
    folder: Path, network: Place, text: Place
) -> tuple[Transformer, TextModel, Tokenizer] | None:
    """The frozen transformer and text encoder of the model in `folder`, and its tokenizer.

    `network` and `text` say where the two compute, and in which precision.
    None if a file is not as `builtin.save` writes it: diffusers and transformers then read the
    folder, or tell what is wrong with it.
    """
    # Damaged files raise anything, such as the bare Exception of the library tokenizers.
    try:
        tokenizer = _tokenizer(folder / "tokenizer")
        backbone = _network(Transformer, supports_transformer, folder / "transformer", network)
        encoder = _network(TextModel, supports_text, folder / "text_encoder", text)
    except Exception:
        return None
    return freeze(backbone, *network), freeze(encoder, *text, text=True), tokenizer


def _tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in a folder. Raises ValueError if a setting or another file may change it."""
    config = read_object(folder / CONFIG, "")
    others = {file.name for file in folder.iterdir()} - {TOKENIZER, CONFIG}
    if others or not config.keys() <= SETTINGS or config.get("tokenizer_class") not in CLASSES:
        raise ValueError("another tokenizer")
    if type(length := config["model_max_length"]) is not int or length < 1:
        raise ValueError("no length")
    found = Tokenizer(folder / TOKENIZER, length, config["pad_token"], config["unk_token"])
    if type(found.backend_tokenizer.model).__name__ != "WordLevel":
        raise ValueError("a tokenizer of parts of words")
    return found


def _network(
    cls: Callable[[Mapping[str, Any]], Network],
    supports: Callable[[Mapping[str, Any]], bool],
    folder: Path,
    place: Place,
) -> Network:
    """The network in a folder. Raises ValueError unless its weights fit and are finite."""
    from safetensors.torch import load_file

    device, dtype = place
    config = read_object(folder / "config.json", "")
    files = weight_files(folder, half=dtype == torch.float16)
    tensors = check_headers("", folder, files)
    if not supports(config) or len(files) != 1:
        raise ValueError("another network")
    with torch.device("meta"), bounded("", tensors):
        model = cls(config)
    stored = load_file(files[0])
    weights = {name.removeprefix(PREFIX): value.to(dtype) for name, value in stored.items()}
    expected = {name: value.shape for name, value in model.state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    if found != expected or len(found) != len(stored):
        raise ValueError("weights of another network")
    if not all(value.isfinite().all() for value in weights.values()):
        raise ValueError("NaN or infinite weights")
    model.load_state_dict(weights, assign=True)
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and device.type == "cpu":
            # In the order in which a product on the CPU reads them, which is a few percent faster.
            # On MPS, torch 2.8 computes wrong results with it (PyTorch issue 162730).
            layer.weight.data = layer.weight.data.T.contiguous().T
    return model
