"""From a request to a plan: everything is read and checked once, before anything slow starts."""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.distill.changes import check_path
from gs3d.distill.config import load_config
from gs3d.distill.stages import RunConfig
from gs3d.guidance import GUIDANCE
from gs3d.io import SPLATS, load_splats
from gs3d.priors.base import Prior
from gs3d.priors.loading.autoencoder import autoencoder_place
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.resolve import default_prior, resolve
from gs3d.runs.callbacks import Message
from gs3d.runs.folders import default_folder, pick_folder
from gs3d.runs.history import read_record
from gs3d.runs.request import Mode, Request, checked, pick_device

PRIOR_MEMBERS = (
    "name",
    "image_size",
    "latent_shape",
    "views",
    "device",
    "sigma",
    "embed",
    "encode",
    "denoise",
)
"""What a run needs of a prior object, see `priors.base.Prior`."""


@dataclass(frozen=True)
class Plan:
    """A run, ready to be executed."""

    request: Request
    folder: Path
    """The output directory; nothing is written to it yet."""
    device: str
    prior: Source | Prior
    """Where the weights are on this disk, or the object that the caller gave."""
    config: RunConfig
    splats: Splats | None
    """Existing splats that the surface starts from."""
    messages: tuple[Message, ...]
    """What the user should know before the run starts."""
    started: float
    """time.monotonic() from which the minutes count."""


def prepare(request: Request, started: float | None = None) -> Plan:
    """Check a request and look up all it names: output directory, device, prior, config, splats.

    Weights that a named prior lacks are downloaded; nothing else is written.

    Args:
        request: What to generate.
        started: time.monotonic() from which the minutes count; now by default.

    Raises:
        UserError: Anything that the user can fix.
    """
    started = time.monotonic() if started is None else started
    request = checked(request)
    folder = pick_folder(request.prompt, request.seed, request.out, request.resume)
    device = _device(request)
    messages: list[Message] = []
    # Reading a given config before the prior: a misspelt key should not wait for a download.
    given = None if request.config is None else _load(request, request.config)
    if given is not None and given.vae is not None:
        autoencoder_place(given.vae)
    for change in request.set:
        check_path(change)
    if isinstance(request.guidance, str) and request.guidance not in GUIDANCE:
        raise UserError(f"--guidance {request.guidance}: expected one of {', '.join(GUIDANCE)}")
    splats = _start_splats(request)
    prior = _prior(request, device, messages)
    messages += _other_prompt(request)
    in_pixels, views = _kind_of(prior)
    config = given or _load(request, preset_for(in_pixels, request.minutes, request.mode))
    config = _fitted(config, request, views)
    first = default_folder(request.prompt, request.seed)
    if request.out is None and not request.resume and folder != first:
        messages.append(
            Message(f"{first} holds a run already; this one goes to {folder}, which --resume takes")
        )
    return Plan(request, folder, device, prior, config, splats, tuple(messages), started)


def preset_for(in_pixels: bool, minutes: float | None, mode: Mode = "splats") -> str:
    """The preset for a prior on pixels or on latents and a time; None is a run by steps."""
    if mode != "splats":
        return f"builtin-{mode}" if in_pixels else mode
    if in_pixels:
        return "builtin"
    return "splats-15min" if minutes is None or minutes >= 5 else "preview"


def _load(request: Request, source: str | Path) -> RunConfig:
    return load_config(source, request.guidance, request.set)


def _prior(request: Request, device: str, messages: list[Message]) -> Source | Prior:
    name: Any = request.prior
    if not isinstance(name, (str, Path)):
        return name
    if name == "auto":
        name, why = default_prior(device)
        messages.append(Message(why))
    return resolve(name)


def _device(request: Request) -> str:
    """The device of the run: that of a prior object, if one is given."""
    prior: Any = request.prior
    if isinstance(prior, (str, Path)):
        return pick_device(request.device)
    lacks = [name for name in PRIOR_MEMBERS if not hasattr(prior, name)]
    if lacks or isinstance(prior, type):
        what = f"without {', '.join(lacks)}" if lacks else "that is a class; create an object of it"
        raise UserError(f"--prior: expected a name or an object like gs3d.Prior, got one {what}")
    if request.device is not None and not _same_device(request.device, prior.device):
        raise UserError(
            f"--device {request.device}: the prior {prior.name} is on {prior.device}; "
            "leave the device out, or load the prior there"
        )
    return pick_device(str(prior.device))


def _same_device(one: str | torch.device, other: torch.device) -> bool:
    """Whether two devices are the same; one without an index is any of its type."""
    named = torch.device(pick_device(one))
    any_index = None in (named.index, other.index)
    return named.type == other.type and (any_index or named.index == other.index)


def _kind_of(prior: Source | Prior) -> tuple[bool, int]:
    """Whether a prior works on pixels, and how many views it denoises together."""
    if isinstance(prior, Source):
        return prior.in_pixels, prior.views
    return prior.latent_shape[0] == 3, prior.views


def _fitted(config: RunConfig, request: Request, views: int) -> RunConfig:
    """The config without the stage that existing splats replace, its batch checked."""
    if request.start is not None:
        if config.stages[0].representation != "splats" or len(config.stages) == 1:
            raise UserError(
                f"--start {request.start}: only a config that goes from splats to a surface can "
                "start there; add --mode mesh"
            )
        config = dataclasses.replace(config, stages=config.stages[1:])
    if config.vae is not None and not isinstance(request.prior, (str, Path)):
        raise UserError("config: vae: only for a prior that is given by name; leave it out")
    for stage in config.stages:
        if stage.batch % views:
            raise UserError(
                f"config: batch: expected a multiple of {views} for a prior that denoises {views} "
                f"views together, got {stage.batch}"
            )
    return config


def _start_splats(request: Request) -> Splats | None:
    if request.start is None:
        return None
    if not request.start.exists():
        raise UserError(
            f"--start {request.start}: there is no such file or folder; "
            "expected a run's folder or a splat file"
        )
    file = request.start / SPLATS if request.start.is_dir() else request.start
    if not file.exists():
        raise UserError(
            f"--start {request.start}: expected a run of splats, but {SPLATS} is not in it"
        )
    return load_splats(file)


def _other_prompt(request: Request) -> list[Message]:
    """A warning if the splats to start from were generated for another prompt."""
    start = request.start
    record = read_record(start) if start is not None and start.is_dir() else None
    if record is None or record["prompt"] == request.prompt:
        return []
    text = f"--start {start}: was made for {record['prompt']!r}"
    return [Message(f"{text}; a surface changes little of its splats", is_warning=True)]
