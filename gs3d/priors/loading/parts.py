"""Loading one part of a diffusers model: a network with all of its weights, or a configuration."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from importlib.util import find_spec
from logging import CRITICAL
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from gs3d.core.errors import UserError, shown
from gs3d.core.runtime.exclusive import exclusive
from gs3d.core.runtime.interrupts import deferred
from gs3d.priors.images import memory_format
from gs3d.priors.loading.headers import bounded, check_headers
from gs3d.priors.loading.weights import chosen_variant, lacking, weight_files

AnyModule = TypeVar("AnyModule", bound=torch.nn.Module)
ABOVE = "above report"
"""What transformers says when it has printed the reason, which `quiet` silences."""
SENTENCEPIECE = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""Package → module in it, of those that read the tokenizer of a T5 in one file."""
SPARE = ("position_ids", "text_projection.weight", "logit_scale")
"""Ends of names of weights that a text encoder's file may hold without need."""
SPARE_OWNERS = ("vision_model.", "visual_projection.")
"""The same, beginnings: a complete CLIP model has them."""


def load_network(
    what: str, folder: Path, cls: Any, device: torch.device, dtype: torch.dtype, text: bool = False
) -> Any:
    """Load the network in `folder`, frozen; `text` says that it is a text encoder.

    Raises `UserError`, whose message begins with `what`, if weights are missing, left over, damaged
    or not finite.

    The cast to `dtype` follows the loading: the argument that casts while loading is `torch_dtype`
    in some of the library versions that gs3d allows and `dtype` in others. The weights are memory
    mapped either way.
    """
    half = dtype == torch.float16
    variant = chosen_variant(folder, half)
    if variant is None:
        raise UserError(f"{what} {_no_weights(folder)}")
    if missing := lacking(folder, variant):
        raise UserError(f"{what} lacks {missing[0]}; download the model again")
    shards = [f for f in weight_files(folder, half) if f.suffix == ".safetensors"]
    tensors = check_headers(what, folder, shards)
    options = {"variant": variant or None, "use_safetensors": True, "output_loading_info": True}
    with bounded(what, tensors):
        model, info = load_part(what, folder, cls, **options)
    _check_keys(what, info)
    model = freeze(model, device, dtype, text)
    _check_finite(what, model, dtype)
    return model


def load_part(what: str, folder: Path, cls: Any, **options: Any) -> Any:
    """`cls.from_pretrained` of a folder; raises `UserError` for any failure."""
    if not folder.is_dir():
        raise UserError(f"{what} is missing; download the model again")
    if cls is None:
        raise UserError(f"{what} has a class that this diffusers does not know; upgrade diffusers")
    with usable(what, "loaded"):
        return cls.from_pretrained(folder, local_files_only=True, **options)


def check_sentencepiece(what: str, folder: Path) -> None:
    """Raise `UserError` if a tokenizer is a SentencePiece model, and a package that reads it lacks.

    transformers then takes the file for one of another kind.
    """
    names = {f.name for f in folder.glob("*")}
    if names & {"tokenizer.json", "vocab.json"} or not any(n.endswith(".model") for n in names):
        return
    lacking = [name for name in SENTENCEPIECE if not _is_installed(SENTENCEPIECE[name])]
    if lacking:
        raise UserError(
            f"{what} is a SentencePiece model, which transformers reads with the package"
            f"{'s' if len(lacking) > 1 else ''} {' and '.join(lacking)}; install with "
            f"`pip install {' '.join(lacking)}`"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that would hold it
        return False


@contextmanager
def usable(what: str, done: str = "used") -> Generator[None, None, None]:
    """Turn any error about a part, such as a setting of the wrong type, into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    # Damaged files raise anything from OSError to the tokenizers library's bare Exception.
    except Exception as error:
        reason = shown(error, 300) or type(error).__name__
        if ABOVE in reason:
            reason = "a weight has another shape than its config.json says"
        raise UserError(f"{what} cannot be {done} ({reason}); download the model again") from error


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


def _no_weights(folder: Path) -> str:
    """What is wrong with a folder without weights that gs3d reads."""
    names = sorted(p.name for p in folder.glob("*"))
    others = [n for n in names if n.endswith((".safetensors", ".bin", ".ckpt", ".pt", ".msgpack"))]
    found = f", only {shown(others[0], 60)}, which gs3d does not read" if others else ""
    return (
        f"has no .safetensors weights{found}; download the model again with its safetensors files"
    )


def _check_keys(what: str, info: dict[str, Any]) -> None:
    """Refuse weights that are missing or left over.

    Without its weights a network, or a part of it, is random numbers, other ones at every load.
    """
    missing = sorted(map(str, info.get("missing_keys", ())))
    spare = sorted(k for k in map(str, info.get("unexpected_keys", ())) if not _is_spare(k))
    if missing:
        raise UserError(f"{what} lacks {_listed(missing)}; download the model again")
    if spare:
        raise UserError(
            f"{what} has weights that its config.json does not describe: {_listed(spare)}; "
            "download the model again"
        )


def _is_spare(key: str) -> bool:
    return key.endswith(SPARE) or key.startswith(SPARE_OWNERS)


def _listed(keys: list[str]) -> str:
    """E.g. "12 weights such as conv_in.weight"."""
    return f"the weight {keys[0]}" if len(keys) == 1 else f"{len(keys)} weights such as {keys[0]}"


def _check_finite(what: str, model: torch.nn.Module, dtype: torch.dtype) -> None:
    named = [(n, p) for n, p in _tensors(model) if p.is_floating_point()]
    if named and not torch.stack([p.isfinite().all() for _, p in named]).all():
        bad = next(n for n, p in named if not p.isfinite().all())
        kind = str(dtype).removeprefix("torch.")
        raise UserError(
            f"{what} has NaN or infinite weights as {kind} ({bad}); download the model again"
        )


def _tensors(model: torch.nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


@contextmanager
def quiet() -> Generator[None, None, None]:
    """Silence progress bars and messages of diffusers and transformers, for one thread at a time.

    What goes wrong is raised, or checked here. The previous settings are restored on exit.
    """
    with exclusive():
        yield from _quiet()


def _quiet() -> Generator[None, None, None]:
    with deferred():
        from diffusers.utils import logging as diffusers_logging
        from transformers.utils import logging as transformers_logging

    modules: tuple[Any, ...] = (diffusers_logging, transformers_logging)
    before = [(m.get_verbosity(), m.is_progress_bar_enabled()) for m in modules]
    for module in modules:
        module.set_verbosity(CRITICAL)
        module.disable_progress_bar()
    try:
        yield
    finally:
        for module, (level, bars) in zip(modules, before, strict=True):
            module.set_verbosity(level)
            if bars:
                module.enable_progress_bar()
