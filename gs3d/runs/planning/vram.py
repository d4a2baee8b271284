"""What a run does so that it fits into the memory of a card (--vram).

Gigabytes here are 10⁹ bytes. Except where "measured" is said, the numbers are sums (docs/gpu.md,
"Cards with less memory"); no run on a card of these sizes has confirmed them.
"""

import math
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch

from gs3d.core.errors import UserError
from gs3d.distill.memory.micro_batches import rows_of
from gs3d.distill.stages import RunConfig
from gs3d.priors.base import Prior
from gs3d.priors.images import downsampling
from gs3d.priors.loading.autoencoder import SHORT_NAMES, resolve_autoencoder
from gs3d.priors.loading.components import NETWORKS, TEXT_ENCODERS, Source, backbone_part
from gs3d.priors.loading.headers import check_headers, read_object
from gs3d.priors.loading.weights import weight_files
from gs3d.runs.callbacks import Message
from gs3d.runs.request import Request


@dataclass(frozen=True)
class Row:
    """What a card has room for beside Stable Diffusion 2.1 (`USUAL_GB`), splats and renders."""

    gb: int
    """Size of the card as its maker names it, in 2³⁰ bytes."""
    encoder_gb: float
    """Room for activations of the autoencoder's encoder. It is the card less 0.3 that no program
    gets, 0.6 for CUDA, 0.8 for a screen, 2.2 for the network and 200,000 splats (measured), 0.17
    for each of 4 to 12 views that is rendered (measured), and a tenth for gaps."""
    text_on_card: bool
    """Whether prompts may be embedded on the card."""
    tiny: bool
    """Whether a tiny autoencoder may take the place of the prior's own."""


ROWS = (
    # One view of 512² with the prior's own encoder. A text encoder is there before the rest and
    # leaves gaps, while embedding some ten prompts on a CPU takes seconds.
    Row(8, 3.0, text_on_card=False, tiny=True),
    # The four views of the presets at once. From here on the prior's own encoder fits, for images
    # of 1024² with its activations computed twice: a tiny one would cost detail for nothing.
    Row(12, 7.0, text_on_card=True, tiny=False),
    Row(16, 9.5, text_on_card=True, tiny=False),
    # Counted as 22, which is all that some cards of 24 have.
    Row(24, 15.3, text_on_card=True, tiny=False),
)
"""From the smallest card to the largest. Larger ones take the whole batch of every preset."""
SIZES = tuple(row.gb for row in ROWS)
SHARE = 0.9
"""Smallest share of its size that a card reports."""
USUAL_GB = 1.9
"""Network and autoencoder of Stable Diffusion 2.1 in half precision: 866 and 84 million weights."""
ENCODER_GB = 1.6
"""Activations of an encoder for one view of 512²: 1.59 by summing what autograd keeps, 1.58 to 1.61
measured. They grow with the area."""
CHECKPOINTED_GB = 0.98
"""The same with `checkpoint_encoder`: the largest block's, 0.87, and what enters each block."""
TINY_GB = 0.25
"""The same of an AutoencoderTiny."""
REST_GB = 1.0
"""What CUDA, splats and the network's own activations need at least."""
SMALL_GB = 0.1
"""Text encoders up to here are no matter."""
TINY: dict[tuple[int, float], str] = {
    (4, 0.18215): "taesd",
    (4, 0.13025): "madebyollin/taesdxl",
    (16, 1.5305): "madebyollin/taesd3",
    (16, 0.3611): "madebyollin/taef1",
}
"""(Channels, scaling factor) of an autoencoder → a tiny one that was trained for its latents: of
Stable Diffusion 1 and 2, XL, 3 and FLUX.1."""


@dataclass(frozen=True)
class Model:
    """What a prior takes of a card, as its files say."""

    weights_gb: float
    """Network and autoencoder in half precision."""
    text_gb: float
    """Text encoders in half precision."""
    area: float
    """Area of an image in units of 512²; 0 without an autoencoder."""
    tiny: str | None
    """A tiny autoencoder for its latents; None if there is none."""


def fitted_to_card(
    config: RunConfig,
    request: Request,
    prior: Source | Prior,
    device: str,
    recorded: dict | None,
    messages: list[Message],
) -> tuple[RunConfig, Request]:
    """The config with what the card asks for, and the request with the row that was used.

    Settings that the config makes stay as they are. `recorded` is run.yaml of the run that is
    resumed, whose row and autoencoder are kept.
    """
    asked, before = request.vram, (recorded or {}).get("vram")
    if before in SIZES:
        if config.vae is None:
            # Other latents than those that the run began with would be another run.
            config = replace(config, vae=((recorded or {}).get("config") or {}).get("vae"))
        request = replace(request, vram=before if asked == "auto" else asked)
    if torch.device(device).type == "cpu":
        if asked != "auto":
            messages.append(Message(f"--vram {asked}: has no effect on the CPU"))
        return config, replace(request, vram=before if before in SIZES else "auto")
    row = _row(request.vram, device, messages)
    if row is None:
        return config, request
    if not isinstance(prior, Source):
        if asked != "auto":
            messages.append(
                Message(
                    f"--vram {asked}: has no effect on the prior {prior.name}, whose memory only "
                    "its own code knows; set micro_batch"
                )
            )
        return config, request
    model = model_of(prior)
    fitted, what = _fitted(config, row, model, prior.views)
    if what or asked != "auto":
        batch = max(stage.batch for stage in config.stages)
        chosen = ", ".join(what) or f"room for all {batch} views at once"
        start = f"--vram {row.gb}" if asked == row.gb else f"for a card of {row.gb} GB (--vram)"
        messages.append(Message(f"{start}: {chosen}"))
    if model.weights_gb + REST_GB > row.gb * 2**30 / 1e9:
        text = f"--vram {row.gb}: the weights of the prior {prior.name} alone take "
        text += f"{model.weights_gb:.1f} GB, so memory will run out; use a smaller model"
        messages.append(Message(text, is_warning=True))
    return fitted, replace(request, vram=row.gb)


def check_micro_batch(config: RunConfig, views: int, name: str) -> None:
    """`UserError` unless `micro_batch` divides the batch of every stage, in whole groups of the
    `views` that the prior `name` denoises together."""
    rows = config.micro_batch
    if rows is None:
        return
    if rows % views:
        raise UserError(
            f"config: micro_batch: expected a multiple of {views} for a prior that denoises "
            f"{views} views together, got {rows}; the prior is {name}"
        )
    for stage in config.stages:
        if stage.batch % rows:
            raise UserError(
                f"config: micro_batch: expected a divisor of batch {stage.batch}, got {rows}"
            )


def model_of(source: Source) -> Model:
    """What the model in a folder takes, by the headers of its files."""
    sizes = {part: _gb(source, part) for part in NETWORKS if part in source.index}
    text = sum(sizes.pop(part, 0.0) for part in TEXT_ENCODERS)
    if source.in_pixels:
        return Model(sum(sizes.values()), text, 0.0, None)
    what = f"prior {source.name}: its"
    vae = read_object(source.folder / "vae" / "config.json", f"{what} vae")
    part = backbone_part(source.index)
    network = read_object(source.folder / f"{part}" / "config.json", f"{what} {part}")
    try:
        side = source.family.shape(network)[2] * downsampling(vae)
        latents = (int(vae["latent_channels"]), float(vae["scaling_factor"]))
    except (KeyError, TypeError, ValueError):
        side, latents = 1024, (0, 0.0)  # reading the model says what is wrong
    return Model(sum(sizes.values()), text, (side / 512) ** 2, TINY.get(latents))


def _gb(source: Source, part: str) -> float:
    folder = source.folder / part
    try:
        shapes = check_headers(part, folder, weight_files(folder, half=True)).shapes
    except UserError:
        return 0.0  # reading the model says what is wrong
    return 2e-9 * sum(map(prod, shapes.values()))


def _row(vram: int | str, device: str, messages: list[Message]) -> Row | None:
    """The row of a size, or of the card there is; None for a card that needs no care."""
    if vram != "auto":
        return next(row for row in ROWS if row.gb == vram)
    has = card_gb(device)
    if has is None or has > ROWS[-1].gb:
        return None
    if has < SHARE * ROWS[0].gb:
        messages.append(
            Message(
                f"the card has {has:.1f} GB, less than the {ROWS[0].gb} that are planned for: "
                "memory may run out; use a smaller batch or resolution in --config",
                is_warning=True,
            )
        )
    return next((row for row in reversed(ROWS) if has >= SHARE * row.gb), ROWS[0])


def card_gb(device: str) -> float | None:
    """Memory of a card in 2³⁰ bytes; None if torch cannot tell."""
    on = torch.device(device)
    if on.type == "cuda":
        return torch.cuda.get_device_properties(on).total_memory / 2**30
    if on.type == "xpu":
        return torch.xpu.get_device_properties(on).total_memory / 2**30
    # Shared with the rest of the machine; this is what Metal recommends to use at most.
    return torch.mps.recommended_max_memory() / 2**30 if on.type == "mps" else None


def _fitted(config: RunConfig, row: Row, model: Model, views: int) -> tuple[RunConfig, list[str]]:
    """The config for a row, and what was chosen, in words."""
    what: list[str] = []
    changes: dict[str, Any] = {}
    room = row.encoder_gb - max(model.weights_gb - USUAL_GB, 0.0)
    group = views * model.area
    cost = _cost(config)
    if cost == ENCODER_GB and group and group * cost > room:
        wanted = model.tiny if row.tiny and group * CHECKPOINTED_GB > room else None
        tiny = _obtained(wanted)
        changes = {"vae": tiny} if tiny else {"checkpoint_encoder": True}
        cost = TINY_GB if tiny else CHECKPOINTED_GB
        if wanted and not tiny:
            what.append(f"without the tiny autoencoder {wanted}, which cannot be had")
    batch = math.gcd(*(stage.batch for stage in config.stages))
    if config.micro_batch is None and model.area:
        rows = rows_of(batch, int(room / (cost * model.area)), views)
        if rows < max(stage.batch for stage in config.stages):
            changes["micro_batch"] = rows
            what.append(
                f"{rows} view{'s' * (rows > 1)} of {_batches(config)} at once (micro_batch)"
            )
    if "checkpoint_encoder" in changes:
        what.append("the encoder's activations computed twice (checkpoint_encoder)")
    if "vae" in changes:
        what.append(f"the tiny autoencoder {changes['vae']}, which costs detail (vae)")
    # A text encoder's memory is given back before the encoder's activations take theirs.
    on_card = row.text_on_card and model.text_gb <= max(room, 0.0)
    if not on_card and not config.text_on_cpu and model.text_gb > SMALL_GB:
        changes["text_on_cpu"] = True
        what.append("prompts embedded on the CPU (text_on_cpu)")
    return replace(config, **changes), what


def _batches(config: RunConfig) -> str:
    return " or ".join(map(str, dict.fromkeys(stage.batch for stage in config.stages)))


def _cost(config: RunConfig) -> float:
    """Activations in GB for one view of 512², with the encoder that the config names."""
    if config.vae in SHORT_NAMES or config.vae in TINY.values():
        return TINY_GB
    return CHECKPOINTED_GB if config.checkpoint_encoder else ENCODER_GB


def _obtained(name: str | None) -> str | None:
    """`name` if that autoencoder is there or can be downloaded, else None."""
    try:
        return name and resolve_autoencoder(name) and name
    except UserError:
        return None
