"""From a request to a plan: everything is read and checked once, before anything slow starts."""

import dataclasses
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.distill.contracts import check_members
from gs3d.distill.settings.build import own_loss
from gs3d.distill.settings.changes import check_path
from gs3d.distill.settings.config import load_config
from gs3d.distill.settings.files import record_in
from gs3d.distill.settings.presets import misfit
from gs3d.distill.settings.stages import (
    RunConfig,
    StageConfig,
    with_guidance_times,
    with_renders_up_to,
)
from gs3d.guidance import losses_with
from gs3d.guidance.loss_file import LossFile, is_loss_file
from gs3d.priors.base import Prior
from gs3d.priors.files.lora import refuse_loras, resolve_loras, with_loras
from gs3d.priors.loading.autoencoder import autoencoder_place
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.factories import FACTORIES, create
from gs3d.priors.loading.resolve import default_prior, is_cached, resolve
from gs3d.runs.callbacks import Message
from gs3d.runs.folders import default_folder, pick_folder
from gs3d.runs.history import read_record
from gs3d.runs.planning.advice import about_compose, about_start
from gs3d.runs.planning.devices import raster_device_of
from gs3d.runs.planning.particles import about_seeds, nothing_shared
from gs3d.runs.planning.recorded import as_recorded, differences_from, loss_to_name
from gs3d.runs.planning.students import student_warning
from gs3d.runs.planning.vram import check_micro_batch, fitted_to_card
from gs3d.runs.request import Mode, Request, checked, device_of
from gs3d.runs.starts.builtin import NAME as BUILTIN
from gs3d.runs.starts.builtin import check_other, start_prompt
from gs3d.runs.starts.files import begin_of, other_prompt, start_splats, too_many
from gs3d.runs.starts.shap_e import shap_e_source

LARGEST_RENDER = 2
"""Largest side of the renders of a preset, in those of the images of the prior."""


@dataclass(frozen=True)
class Plan:
    """A run, ready to be executed."""

    request: Request
    folder: Path
    """The output directory; nothing is written to it yet."""
    device: str
    """Of the prior."""
    raster_device: str
    """Of what is optimized and its renders."""
    prior: Source | Prior
    """Where the weights are on this disk, or an object: that of the caller or of a factory."""
    config: RunConfig
    begin: float
    """Progress at which a new run begins."""
    splats: Splats | None
    """Existing splats to start from, in the unit sphere."""
    start_prompt: str | None
    """Prompt of the short run of the built-in prior to start from (`starts.builtin`)."""
    shap_e: Source | None
    """Where the weights of Shap-E are, if it makes the start (`starts.shap_e`)."""
    messages: tuple[Message, ...]
    """What the user should know before the run starts."""
    started: float
    """time.monotonic() from which the minutes count, later by the time of a download."""


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
    device = device_of(request)
    messages: list[Message] = []
    loss = own_loss(str(request.guidance)) if is_loss_file(request.guidance) else None
    request = as_recorded(request, folder, loss, messages)
    # Reading a given config before the prior: a misspelt key should not wait for a download.
    given = None if request.config is None else _given(request, request.config, loss)
    for change in request.set:
        check_path(change, losses=losses_with(loss))
    for setting in ("vae", "vae_backward"):
        if given is not None and (vae := getattr(given, setting)) is not None:
            autoencoder_place(vae, setting)
    splats = start_splats(request, folder, messages)
    first_prompt = start_prompt(request, folder)
    prior = _prior(request, device, messages)
    if isinstance(prior, Source):
        started += prior.download_s
    check_other(request.start, prior.name)
    messages += other_prompt(request)
    if given is not None:
        messages += _other_mode(request, given)
        if text := misfit(str(request.config), _is_like_builtin(prior)):
            messages.append(Message(f"--config {request.config}: {text}", is_warning=True))
        if (record := record_in(str(request.config))) is not None and not request.resume:
            messages += differences_from(request.config, record, request, prior)
    # Also if a config is given: this finds a model that gs3d cannot use before anything starts.
    preset = preset_for(_is_like_builtin(prior), request.minutes, request.mode)
    config = _fitted(given or _load_preset(request, preset, prior, loss), request, prior)
    recorded = read_record(folder) if request.resume else None
    config, request = fitted_to_card(config, request, prior, device, recorded, messages)
    raster_device = raster_device_of(request, device, config, messages)
    messages += too_many(splats, config)
    messages += nothing_shared(request, config)
    messages += about_seeds(request, config, prior)
    messages += student_warning(prior, config)
    if not _is_like_builtin(prior):
        messages += about_start(request, config)
    elif prior.name == BUILTIN:
        messages += about_compose(request, config)
    shap_e = shap_e_source(request, folder, device, messages)
    started += 0.0 if shap_e is None else shap_e.download_s
    first = default_folder(request.prompt, request.seed)
    if request.out is None and not request.resume and folder != first:
        messages.append(
            Message(f"{first} holds a run already; this one goes to {folder}, which --resume takes")
        )
    return Plan(
        request,
        folder,
        device,
        raster_device,
        prior,
        config,
        begin_of(request, config),
        splats,
        first_prompt,
        shap_e,
        tuple(messages),
        started,
    )


def preset_for(is_like_builtin: bool, minutes: float | None, mode: Mode = "splats") -> str:
    """The preset for a small prior on pixels or a large one, and a time; None is a run by steps."""
    if mode != "splats":
        return f"builtin-{mode}" if is_like_builtin else mode
    if is_like_builtin:
        return "builtin"
    return "splats-15min" if minutes is None or minutes >= 5 else "preview"


def _load(request: Request, source: str | Path, loss: LossFile | None) -> RunConfig:
    return load_config(source, loss or request.guidance, request.set)


def _given(request: Request, source: str | Path, loss: LossFile | None) -> RunConfig:
    """The settings of a given config."""
    if request.guidance is None and (record := record_in(source)) is not None:
        loss_to_name(source, record)
    return _load(request, source, loss)


def _load_preset(
    request: Request, preset: str, prior: Source | Prior, loss: LossFile | None
) -> RunConfig:
    """The settings of a request without a config, fitted to the prior: its guidance scale, and
    renders at most twice as wide as its images, because it would not see more. A guidance scale
    that a loss of the user's own has set stays."""
    try:
        config = _load(request, preset, loss)
    except UserError as error:
        # A change that does not fit: the user did not choose the preset, maybe not the prior.
        why = f"preset {preset}, for the prior {prior.name}"
        raise UserError(f"{error.for_command_line} ({why})") from None
    stages = config.stages
    if prior.image_size is not None and not any("resolution_px" in c for c in request.set):
        largest_px = LARGEST_RENDER * prior.image_size
        stages = tuple(with_renders_up_to(largest_px, stage) for stage in stages)
    of_preset = request.guidance is None or isinstance(request.guidance, str)
    if isinstance(prior, Source) and of_preset and not any(".cfg" in c for c in request.set):
        usual = load_config(preset).stages if loss else stages
        stages = tuple(
            with_guidance_times(prior.family.guidance, stage)
            if _scale(stage) == _scale(u)
            else stage
            for stage, u in zip(stages, usual, strict=True)
        )
    return dataclasses.replace(config, stages=stages)


def _scale(stage: StageConfig) -> object:
    return getattr(stage.guidance, "cfg", None)


def _prior(request: Request, device: str, messages: list[Message]) -> Source | Prior:
    name: Any = request.prior
    loras = resolve_loras(request.lora, prior=name)
    if not isinstance(name, (str, Path)):
        refuse_loras(loras, name.name)
        return name
    if name == "auto":
        name, why = default_prior(device, request.prompt)
        if is_cached(name):
            messages.append(Message(why))
        else:  # messages come after a download, and its reason should come before
            print(why, file=sys.stderr, flush=True)
    if name not in FACTORIES:
        return with_loras(resolve(name), loras)
    refuse_loras(loras, str(name))
    created = create(str(name), device)
    check_members(created)
    return created


def _is_like_builtin(prior: Source | Prior) -> bool:
    """Whether the presets of the built-in prior fit; those of Stable Diffusion do otherwise."""
    return prior.is_like_builtin if isinstance(prior, Source) else prior.latent_shape[0] == 3


def _fitted(config: RunConfig, request: Request, prior: Source | Prior) -> RunConfig:
    """The config without what existing splats replace, its batch checked."""
    if config.stages[0].cameras.inside:
        _check_scene(request, prior)
    if request.start is not None:
        if config.stages[0].representation != "splats":
            raise UserError(
                f"--start {request.start}: a {config.stages[0].representation} cannot start from "
                "what is there; expected --mode splats or --mode mesh"
            )
        if len(config.stages) > 1:
            config = dataclasses.replace(config, stages=config.stages[1:])
    for setting in ("vae", "vae_backward"):
        if getattr(config, setting) is not None and not isinstance(prior, Source):
            raise UserError(
                f"config: {setting}: only for a prior with a model folder, not for {prior.name}; "
                "leave it out"
            )
    views = prior.views
    for stage in config.stages:
        if stage.batch % views:
            raise UserError(
                f"config: batch: expected a multiple of {views} for a prior that denoises {views} "
                f"views together, got {stage.batch}; the prior is {prior.name}"
            )
    check_micro_batch(config, views, prior.name)
    return config


def _check_scene(request: Request, prior: Source | Prior) -> None:
    """UserError for what a scene, which is seen from inside, cannot have."""
    if request.start is not None:
        raise UserError(
            f"--start {request.start}: a scene begins as a floor, a shell and a sky around the "
            "cameras; leave --start out"
        )
    if prior.views > 1:
        raise UserError(
            f"--prior {prior.name}: denoises {prior.views} views from around an object together, "
            "and a scene is seen from inside; choose a prior of single images"
        )


def _other_mode(request: Request, config: RunConfig) -> list[Message]:
    """A warning if a given config makes something else than a mode other than the default."""
    first, last = (config.stages[i].representation for i in (0, -1))
    fits = {
        "splats": True,
        "mesh": (first, last) == ("splats", "dmtet"),
        "two-stage": (first, last) == ("nerf", "dmtet"),
        "scene": config.stages[0].cameras.inside,
    }
    if fits[request.mode]:
        return []
    stages = ", then ".join(stage.representation for stage in config.stages)
    text = f"--mode {request.mode}: has no effect with --config {request.config}, which"
    return [Message(f"{text} optimizes {stages}; leave one of the two out", is_warning=True)]
