"""The parts of a diffusers model folder, read by its model_index.json. One way for the built-in prior and for Stable Diffusion."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gs3d.core.cameras import GROUP
from gs3d.core.errors import UserError
from gs3d.priors.images import memory_format
from gs3d.priors.network import TextEncoder
from gs3d.priors.scalings import Edm, Epsilon, Flow, Scaling, Velocity, VpTable

if TYPE_CHECKING:
    from diffusers import (
        AutoencoderKL,
        AutoencoderTiny,
        SD3Transformer2DModel,
        UNet2DConditionModel,
    )

CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
}
"""The model classes an adapter knows how to call; anything else in a model_index.json is refused by name."""
BACKBONES = ("unet", "transformer")
"""Parts that denoise; a model has one of them."""
NEEDED = ("text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class Source:
    """Where the weights of a prior lie, or of a part of one."""

    name: str
    """As the user gave it."""
    folder: Path
    repo: str | None = None
    """Hub id it was downloaded from; `folder` is then a snapshot in the Hugging Face cache."""


@dataclass(frozen=True)
class Components:
    """What a prior is built from, on its device, in evaluation mode, no weight asking for a gradient."""

    source: Source
    backbone: "UNet2DConditionModel | SD3Transformer2DModel"
    vae: "AutoencoderKL | AutoencoderTiny | None"
    text: TextEncoder
    scaling: Scaling


def read_index(folder: Path, name: str | None = None) -> dict[str, tuple[str, str]]:
    """Part → (library, class) of the model in `folder`; a UserError about `name` when it is not a model that gs3d can use."""
    path, name = folder / "model_index.json", name or str(folder)
    if not path.is_file():
        raise UserError(
            f"prior {name}: not a diffusers model folder, it has no model_index.json; give the folder that holds one"
        )
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        index = {
            k: (v[0], v[1])
            for k, v in tree.items()
            if isinstance(v, list) and len(v) == 2 and all(isinstance(x, str) for x in v)
        }
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"prior {name}: model_index.json cannot be read ({error}); download the model again"
        ) from None
    missing = [part for part in NEEDED if part not in index]
    if backbone_part(index) is None:
        missing.insert(0, " or ".join(BACKBONES))
    if missing or "text_encoder_2" in index:
        kind = tree.get("_class_name", "unknown")
        why = f"no {', '.join(missing)}" if missing else "two text encoders"
        raise UserError(
            f"prior {name}: a {kind} has {why}; expected a model with one denoising network and "
            "one text encoder, such as Stable Diffusion 1.5 or 2.1"
        )
    for part, known in CLASSES.items():
        if part in index and index[part][1] not in known:
            raise UserError(
                f"prior {name}: its {part} is a {index[part][1]}; expected {' or '.join(known)}"
            )
    return index


def views_of(folder: Path) -> int:
    """How many views the model in `folder` looks at together: what its model_index.json calls "views", else 1."""
    views = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("views", 1)
    if type(views) is not int or views not in (1, GROUP):
        raise UserError(
            f"prior {folder}: its model_index.json speaks of {views!r} views; expected 1 or {GROUP}"
        )
    return views


def backbone_part(names: Iterable[str]) -> str | None:
    """Which of BACKBONES is among the parts or folders of a model."""
    names = set(names)
    return next((part for part in BACKBONES if part in names), None)


def read(
    source: Source,
    device: torch.device,
    dtype: torch.dtype,
    vae_dtype: torch.dtype,
    vae: "AutoencoderKL | AutoencoderTiny | None" = None,
) -> Components:
    """Load every part of the model in `source.folder`, but for an autoencoder that is given. Never touches the network."""
    import diffusers
    import transformers

    folder = source.folder
    index = read_index(folder)
    with quiet():
        tokenizer = _call(
            folder,
            "tokenizer",
            getattr(transformers, index["tokenizer"][1], transformers.AutoTokenizer),
        )
        scheduler = _call(folder, "scheduler", getattr(diffusers, index["scheduler"][1], None))
        text_encoder = _weights(
            folder, "text_encoder", getattr(transformers, index["text_encoder"][1]), device, dtype
        )
        part = backbone_part(index)
        backbone = _weights(folder, part, getattr(diffusers, index[part][1], None), device, dtype)
        if vae is None and "vae" in index:
            vae = _weights(folder, "vae", getattr(diffusers, index["vae"][1]), device, vae_dtype)
    return Components(
        source,
        backbone,
        vae,
        TextEncoder(text_encoder, tokenizer),
        scaling_of(scheduler, str(folder)),
    )


def scaling_of(scheduler: Any, where: str = "the model") -> Scaling:
    """What the scheduler of a diffusers model says about its training: a table, a kind of prediction."""
    kind = type(scheduler).__name__
    config = scheduler.config
    prediction = config.get("prediction_type", "epsilon")
    if kind.startswith("EDM") and prediction == "epsilon":
        return Edm(float(config.sigma_data))
    if kind.startswith("FlowMatch"):
        return Flow(float(config.num_train_timesteps))
    if hasattr(scheduler, "alphas_cumprod") and prediction in ("epsilon", "v_prediction"):
        if config.get("rescale_betas_zero_snr", False):
            raise UserError(
                f"prior {where}: its scheduler ends at zero signal (rescale_betas_zero_snr), where σ is infinite; not supported"
            )
        table = VpTable.from_alphas_cumprod(scheduler.alphas_cumprod)
        return Velocity(table) if prediction == "v_prediction" else Epsilon(table)
    raise UserError(
        f"prior {where}: its scheduler is a {kind} with prediction_type {prediction}; "
        "expected epsilon or v_prediction with betas, EDM with epsilon, or flow matching"
    )


def weight_names(names: Iterable[str], variant: str) -> list[str]:
    """Those of a part's file names that hold one precision of its weights (`variant` "fp16" or ""), whole or in shards with their index.

    `non_ema` and other copies are left out: they are not for inference. So are pickles.
    """
    v, shard = (re.escape(f".{variant}") if variant else ""), r"(-\d+-of-\d+)?"
    stem = "(model|diffusion_pytorch_model)"
    pattern = rf"{stem}({v}{shard}|{shard}{v})\.safetensors|{stem}\.safetensors\.index{v}\.json"
    return sorted(n for n in names if re.fullmatch(pattern, n))


def chosen_weights(names: Iterable[str], half: bool) -> list[str]:
    """The fp16 variant when `half` and there is one, else the plain one, else the fp16 one."""
    names = list(names)
    plain, fp16 = weight_names(names, ""), weight_names(names, "fp16")
    return fp16 if fp16 and (half or not plain) else plain


def weight_files(folder: Path, half: bool) -> list[Path]:
    """The files of one part's weights on this disk; empty when there are none."""
    return [folder / n for n in chosen_weights((p.name for p in folder.glob("*")), half)]


def facts_of(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and dates, to tell weights apart by: to hash gigabytes would take minutes."""
    return [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files]


def _weights(
    folder: Path, part: str, cls: type, device: torch.device, dtype: torch.dtype
) -> torch.nn.Module:
    """One model, frozen. Cast after loading, by `.to`: the argument that would cast while loading is `torch_dtype` in some of the
    library versions gs3d allows and `dtype` in others, and the weights are read by memory map either way."""
    files = weight_files(folder / part, half=dtype == torch.float16)
    if not files:
        raise UserError(
            f"prior {folder}: no .safetensors weights in {part}/; download the model again with its safetensors files"
        )
    model = _call(
        folder,
        part,
        cls,
        variant="fp16" if ".fp16" in files[0].name else None,
        use_safetensors=True,
    )
    return frozen(model, device, dtype, text=part == "text_encoder")


def frozen(
    model: torch.nn.Module, device: torch.device, dtype: torch.dtype, text: bool = False
) -> torch.nn.Module:
    """`model` as a prior has it: on its device, in evaluation mode, asking for no gradient, laid out for pictures or for `text`."""
    model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return model if text else model.to(memory_format=memory_format(device))


def _call(folder: Path, part: str, cls: Any, **options: Any) -> Any:
    """`cls.from_pretrained` of one subfolder, its many ways to fail told in one line."""
    if cls is None:
        raise UserError(
            f"prior {folder}: the installed diffusers does not know the class of its {part}; upgrade diffusers"
        )
    try:
        return cls.from_pretrained(folder, subfolder=part, local_files_only=True, **options)
    except Exception as error:  # damaged files raise anything from OSError to the tokenizers library's bare Exception
        reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
        raise UserError(
            f"prior {folder}: its {part} cannot be loaded ({reason}); download the model again"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """No loading bars and no notes about unused weights from diffusers and transformers; put back afterwards."""
    from diffusers.utils import logging as a
    from transformers.utils import logging as b

    before = a.get_verbosity(), b.get_verbosity(), b.is_progress_bar_enabled()
    a.set_verbosity_error()
    b.set_verbosity_error()
    b.disable_progress_bar()
    try:
        yield
    finally:
        a.set_verbosity(before[0])
        b.set_verbosity(before[1])
        if before[2]:
            b.enable_progress_bar()
