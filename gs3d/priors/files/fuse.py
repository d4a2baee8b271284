# pyright: reportUnknownMemberType=false, reportPrivateImportUsage=false
# pyright: reportUnknownVariableType=false
# diffusers and peft have no complete types.
"""Adding LoRAs to the weights of a model, so that it then runs as fast as without them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gs3d.core.errors import UserError, shown
from gs3d.core.runtime.interrupts import deferred
from gs3d.priors.files.contents import read_contents
from gs3d.priors.files.lora import LOADERS, Lora
from gs3d.priors.loading.parts import quiet

if TYPE_CHECKING:
    from gs3d.priors.loading.components import Components

METADATA = "lora_adapter_metadata"
"""Entry of a file's header in which diffusers writes r and α."""
ADAPTER = "fused"
CLOSE = 1e-2
"""How far the size of a LoRA in the model may be from that in the file, for half precision."""


def fuse_loras(parts: Components) -> None:
    """Add the LoRAs of `parts.source` to the weights of its networks, in place.

    W ← W + w·(α/r)·B·A for each layer of each LoRA, one after the other, with α = r where the file
    names no α.

    Raises:
        UserError: A LoRA does not fit the model, or is not finite.
    """
    for lora in parts.source.loras:
        what = f"--lora {shown(lora.name, 200)}"
        with quiet(), _fits(what, parts.source.name):
            _fuse(what, parts, lora)


def _fuse(what: str, parts: Components, lora: Lora) -> None:
    tensors, metadata = _read(what, lora)
    weights, alphas = _named(tensors, parts)
    networks = dict(_networks(parts))
    found = {name.split(".")[0] for name in weights}
    if others := sorted(found - networks.keys()):
        raise UserError(
            f"{what}: has weights for {shown(others[0])}, which the prior {parts.source.name} does "
            f"not have ({', '.join(networks)}); it is for another model"
        )
    for part in (part for part in networks if part in found):
        own = {n: w for n, w in weights.items() if n.startswith(f"{part}.")}
        _inject(part, networks[part], own, alphas, metadata, parts)
        layers = list(_layers(networks[part]))
        _check_complete(what, part, layers, own, parts.source.name)
        for layer in layers:
            layer.scale_layer(lora.weight)
            layer.merge(adapter_names=[ADAPTER])
            if not layer.get_base_layer().weight.isfinite().all():
                raise UserError(
                    f"{what}: the {part} is not finite with the weight {lora.weight:g}; "
                    "use a smaller one, or another LoRA"
                )
        _remove(networks[part])


def _read(what: str, lora: Lora) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Tensors of the file by name, and what its header says of r and α, if it does."""
    from safetensors.torch import load_file

    tensors = load_file(lora.file)
    bad = [
        n for n, w in tensors.items() if w.is_floating_point() and not w.float().isfinite().all()
    ]
    if bad:
        raise UserError(
            f"{what}: has NaN or infinite weights ({shown(bad[0], 60)}); download it again"
        )
    text = read_contents(what, lora.file).metadata.get(METADATA)
    return tensors, None if text is None else json.loads(text)


def _named(
    tensors: dict[str, Tensor], parts: Components
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Weights by their names in diffusers, and α by the names of layers; both begin with the name
    of a part."""
    with deferred():
        import diffusers.loaders

    loader: Any = getattr(diffusers.loaders, LOADERS[parts.family.name])
    options: dict[str, Any] = {}
    if loader.__name__.startswith("StableDiffusion"):
        # kohya's names of the layers of XL are those of its first code, by which the number of
        # residual blocks in a level is needed.
        options["unet_config"] = parts.backbone.config
        tensors = _scaled(tensors)
    elif loader.__name__.startswith("Flux"):
        options["return_alphas"] = True
    result: Any = loader.lora_state_dict(dict(tensors), **options)
    # Without α where the family's files never have any.
    pair: Any = result if isinstance(result, tuple) else (result, None)
    weights: dict[str, Tensor] = pair[0]
    alphas: dict[str, float] = pair[1] or {}
    names = [part for part, _ in _networks(parts)]
    if not any(name.split(".")[0] in names for name in weights):
        # Files of older versions of diffusers, with the denoising network alone.
        weights = {f"{names[0]}.{name}": weight for name, weight in weights.items()}
    return {_in_text_encoder(name): weight for name, weight in weights.items()}, alphas


def _scaled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a file of kohya's scripts with α/r in B, so that no α is left to be lost."""
    found = {name: weight for name, weight in tensors.items() if name.endswith(".alpha")}
    alphas = {name.removesuffix(".alpha"): float(weight) for name, weight in found.items()}
    scaled = {name: weight for name, weight in tensors.items() if name not in found}
    for layer, alpha in alphas.items():
        if (up := f"{layer}.lora_up.weight") in scaled:
            rank = scaled[up].shape[1]
            scaled[up] = scaled[up].float() * (alpha / rank)
    return scaled


def _in_text_encoder(name: str) -> str:
    """The newer of two names that diffusers has for the attention of a text encoder: it expects the
    older one in files with all four layers only."""
    if not name.startswith("text_encoder"):
        return name
    return re.sub(r"\.to_(q|k|v|out)_lora\.", r".\1_proj.lora_linear_layer.", name)


def _networks(parts: Components) -> Iterator[tuple[str, Any]]:
    """Name and network of the parts that a LoRA can change, the denoising network first."""
    yield (
        next(part for part in ("unet", "transformer") if part in parts.source.index),
        parts.backbone,
    )
    for encoder in parts.text.encoders:
        yield encoder.part, encoder.model


def _inject(
    part: str,
    network: Any,
    weights: dict[str, Tensor],
    alphas: dict[str, float],
    metadata: dict[str, Any] | None,
    parts: Components,
) -> None:
    """Put the layers of peft around those of the network."""
    import diffusers.loaders

    options: dict[str, Any] = {"network_alphas": alphas or None, "adapter_name": ADAPTER}
    if metadata is not None and not alphas:
        options["metadata"] = metadata
    if network is parts.backbone:
        network.load_lora_adapter(weights, prefix=part, **options)
    else:
        loader: Any = getattr(diffusers.loaders, LOADERS[parts.family.name])
        loader.load_lora_into_text_encoder(weights, text_encoder=network, prefix=part, **options)


def _layers(network: Any) -> Iterator[Any]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in network.modules():
        if isinstance(module, BaseTunerLayer) and ADAPTER in getattr(module, "lora_B", {}):
            yield module


def _check_complete(
    what: str, part: str, layers: list[Any], weights: dict[str, Tensor], prior: str
) -> None:
    """Refuse a LoRA of which not every weight is in the network: peft leaves others out."""
    expected = sum("lora_B" in n or ".up." in n for n in weights)
    given = [w for w in weights.values() if w.ndim > 1]
    taken = [m[ADAPTER].weight for layer in layers for m in (layer.lora_A, layer.lora_B)]
    if len(layers) != expected or not math.isclose(_size(given), _size(taken), rel_tol=CLOSE):
        raise UserError(
            f"{what}: only {len(layers)} of its {expected} layers for the {part} fit the prior "
            f"{prior}; it is for another model"
        )


def _size(tensors: list[Tensor]) -> float:
    return sum(float(t.detach().float().square().sum()) for t in tensors)


def _remove(network: Any) -> None:
    """Take the layers of peft away again; the merged weights stay."""
    from diffusers.utils import recurse_remove_peft_layers

    recurse_remove_peft_layers(network)
    if hasattr(network, "peft_config"):
        del network.peft_config
    network._hf_peft_config_loaded = False
    network.requires_grad_(False)


@contextmanager
def _fits(what: str, prior: str) -> Generator[None, None, None]:
    """Turn any error about a LoRA into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except (torch.OutOfMemoryError, MemoryError):
        raise
    # Names and shapes of another model raise anything from KeyError to RuntimeError.
    except Exception as error:
        if "size mismatch" in str(error):  # torch says so of every layer, on a line each
            raise UserError(
                f"{what}: its layers have other sizes than those of the prior {prior}; it is for "
                "another model"
            ) from error
        reason = shown(error, 160) or type(error).__name__
        raise UserError(
            f"{what}: does not fit the prior {prior} ({reason}); it is for another model"
        ) from error
