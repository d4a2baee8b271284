"""What a run does so that it fits into the memory of a card (--vram).

Gigabytes here are 10⁹ bytes. Except where "measured" is said, the numbers are sums (docs/gpu.md,
"Cards with less memory"); no run on a card of these sizes has confirmed them.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from gs3d.core.errors import UserError
from gs3d.distill.memory.micro_batches import rows_of
from gs3d.distill.settings.stages import RunConfig
from gs3d.priors.base import Prior
from gs3d.priors.loading.autoencoder import SHORT_NAMES, resolve_autoencoder
from gs3d.priors.loading.components import Source
from gs3d.runs.callbacks import Message
from gs3d.runs.planning.model_size import TINY, Model, model_of
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
    # The four views of the presets at once. From here on the prior's own encoder in bfloat16 is
    # kept. For Stable Diffusion XL, with its activations computed twice, that takes 0.3 of the
    # tenth for gaps here.
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
BACKWARD_GB = 0.6
"""With `vae_backward`: what an AutoencoderTiny keeps, and beside it the most that the prior's own
encoder has at once on the way forward. The sum of all tensors is 0.59."""
REST_GB = 1.0
"""What CUDA, splats and the network's own activations need at least."""
SCREEN_GB, GAPS = 0.8, 0.1
"""What a row sets aside for a screen, and the share of the card for gaps. They may be free."""
SMALL_GB = 0.1
"""Text encoders up to here are no matter."""


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
    resumed. Its row is kept unless another is asked for, and its autoencoder always: other latents
    than those that a run began with would be another run.
    """
    asked, before = request.vram, (recorded or {}).get("vram")
    if before in SIZES:
        if config.vae is None and config.vae_backward is None:
            config = replace(config, vae=((recorded or {}).get("config") or {}).get("vae"))
        request = replace(request, vram=before if asked == "auto" else asked)
    if torch.device(device).type == "cpu":
        if asked != "auto":
            messages.append(Message(f"--vram {asked}: has no effect on the CPU"))
        return config, replace(request, vram=before if before in SIZES else "auto")
    row = _row(request.vram, device, messages)
    if not isinstance(prior, Source):
        if row is not None and asked != "auto":
            messages.append(
                Message(
                    f"--vram {asked}: has no effect on the prior {prior.name}, whose memory only "
                    "its own code knows; set micro_batch"
                )
            )
        return config, request
    model = model_of(prior, device)
    if row is None:
        return _on_large_card(config, model, device, messages), request
    fitted, what = _fitted(config, row, model, prior.views, recorded is None)
    if what or asked != "auto":
        batch = max(stage.batch for stage in config.stages)
        chosen = ", ".join(what) or f"room for all {batch} views at once"
        start = f"--vram {row.gb}" if asked == row.gb else f"for a card of {row.gb} GB (--vram)"
        messages.append(Message(f"{start}: {chosen}"))
    if why := _too_large(fitted, row, model, prior):
        text = f"--vram {row.gb}: {why}; use a smaller model"
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


def _on_large_card(
    config: RunConfig, model: Model, device: str, messages: list[Message]
) -> RunConfig:
    """The config for a card above those of `ROWS`. Its text encoders may not fit beside the
    weights of a large model all the same, as those of FLUX.1 on 32 GB."""
    together, has = model.weights_gb + model.text_gb + REST_GB, card_gb(device)
    if has is None or config.text_on_cpu or together <= has * 2**30 / 1e9:
        return config
    text = f"for a card of {has:.0f} GB: prompts embedded on the CPU (text_on_cpu)"
    messages.append(Message(text))
    return replace(config, text_on_cpu=True)


def _too_large(config: RunConfig, row: Row, model: Model, prior: Source) -> str:
    """Why a model is too large for a card, whatever is chosen; "" if it is not."""
    card, weights = row.gb * 2**30 / 1e9, f"the weights of the prior {prior.name}"
    if model.weights_gb + REST_GB > card:
        return f"{weights} alone take {model.weights_gb:.1f} GB, so memory will run out"
    least = prior.views * model.area * _cost(config) * model.wide
    if least <= _room(row, model) + SCREEN_GB + GAPS * card:
        return ""
    many = f"{prior.views} view{'s' * (prior.views > 1)} at once"
    return f"beside {weights} there is no room for {many}, so memory may run out"


def _room(row: Row, model: Model) -> float:
    """What the weights leave of `Row.encoder_gb`, less than 0 if they take more."""
    return row.encoder_gb - max(model.weights_gb - USUAL_GB, 0.0)


def _fitted(
    config: RunConfig, row: Row, model: Model, views: int, is_new: bool
) -> tuple[RunConfig, list[str]]:
    """The config for a row, and what was chosen, in words. Only a run that `is_new` may get another
    autoencoder."""
    what: list[str] = []
    changes: dict[str, Any] = {}
    room = _room(row, model)
    # All sizes of activations are those in bfloat16.
    area = model.area * model.wide
    group = views * area
    cost = _cost(config)
    if cost == ENCODER_GB and group and group * cost > room:
        may = is_new and (row.tiny or model.wide > 1)
        wanted = model.tiny if may and group * CHECKPOINTED_GB > room else None
        tiny = _obtained(wanted)
        changes = {"vae": tiny} if tiny else {"checkpoint_encoder": True}
        cost = TINY_GB if tiny else CHECKPOINTED_GB
        if wanted and not tiny:
            what.append(f"without the tiny autoencoder {wanted}, which cannot be had")
    batch = math.gcd(*(stage.batch for stage in config.stages))
    if config.micro_batch is None and area:
        rows = rows_of(batch, int(room / (cost * area)), views)
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
    if config.vae_backward is not None:
        return BACKWARD_GB
    return CHECKPOINTED_GB if config.checkpoint_encoder else ENCODER_GB


def _obtained(name: str | None) -> str | None:
    """`name` if that autoencoder is there or can be downloaded, else None."""
    try:
        return name and resolve_autoencoder(name) and name
    except UserError:
        return None
