"""What happens between a plan and its first iteration: load, embed, restore, warm up."""

import contextlib
from collections.abc import Callable, Iterator

import torch

from gs3d.core.errors import UserError
from gs3d.core.runtime import clock
from gs3d.core.views.words import VIEW_WORDS
from gs3d.distill.budget import Budget
from gs3d.distill.checkpoint import Checkpoint, newest_checkpoint
from gs3d.distill.contracts import check_prior
from gs3d.distill.memory.shortage import is_memory
from gs3d.distill.start import begin
from gs3d.distill.state import Particle, Task, TrainState
from gs3d.distill.step import warm_up
from gs3d.io import result_file
from gs3d.priors.base import Prior
from gs3d.priors.loading.components import Source
from gs3d.priors.loading.resolve import describe, load
from gs3d.priors.prompts import (
    VIEW_SUFFIX,
    ViewPrompts,
    folder_name,
    is_closed,
    vocab_command,
    vocabulary,
)
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.loop import restore, smaller_micro_batch, start
from gs3d.runs.outputs.export_time import export_seconds
from gs3d.runs.prepare import Plan
from gs3d.runs.record import RunRecord
from gs3d.runs.request import objects_of
from gs3d.world.captions import NORMALS_PREFIX, PREFIXES
from gs3d.world.prompt_parser import kinds_in


class Phases:
    """Seconds of each phase of a run; the phases follow each other without gaps. `started` is of
    `clock.now`."""

    def __init__(self, started: float):
        self.started = self.last = started
        self.seconds: dict[str, float] = {}

    def end(self, name: str) -> None:
        now = clock.now()
        self.seconds[name], self.last = now - self.last, now


def load_task(
    plan: Plan, callbacks: Callbacks, load_with: Callable[[Plan], Prior] | None = None
) -> Task:
    """Load the prior, or check it if it is an object, and embed the prompts.

    A program that makes several runs may load the prior itself, by `load_with`, and keep it. Then
    its text encoder stays too.
    """
    prompt, config = plan.request.prompt, plan.config
    prior = load_prior(plan) if load_with is None else load_with(plan)
    inside = config.stages[0].cameras.inside
    views = {"blend": config.blend_views, "perp_neg": config.perp_neg, "inside": inside}
    prompts = ViewPrompts.of(prior, prompt, config.negative, **views)
    for line in (*prompts.warnings, *_without_kind(prompt, prior)):
        callbacks.warn(line)
    normal_prompts = None
    if any(stage.normals for stage in config.stages):
        text = normal_map_prompt(prompt)
        normal_prompts = ViewPrompts.of(prior, text, config.negative, **views)
        for line in dict.fromkeys(normal_prompts.warnings):
            if line not in prompts.warnings:
                callbacks.warn(f"for normal maps: {line}")
    if load_with is None and (free := getattr(prior, "free_text_encoder", None)):
        free()
    request = plan.request
    return Task(prior, prompts, config, request.seed, normal_prompts, request.seeds)


def record_of(plan: Plan, task: Task) -> RunRecord:
    return RunRecord(
        plan.request, plan.config, describe(task.prior), plan.device, plan.raster_device
    )


def first_state(
    plan: Plan, task: Task, record: RunRecord, callbacks: Callbacks
) -> tuple[TrainState, float | None]:
    """The state that the run starts or resumes with, and the seconds that earlier processes spent
    on it. One iteration of each stage has been tried, which compiles what is needed."""
    config, seed, device = plan.config, plan.request.seed, plan.raster_device
    checkpoint = _checkpoint(plan, record)
    if checkpoint:
        with enough_memory():
            state = restore(config, checkpoint, device)
        text = f"resumed {plan.folder} at step {state.step} after {checkpoint.elapsed_s:.0f} s"
        callbacks.info(text)
    else:
        flag, number = objects_of(plan.request)
        with enough_memory():
            state = start(config, seed, device, plan.splats, plan.begin, number, flag)
        if plan.request.resume:
            callbacks.info(f"nothing to resume in {plan.folder}: starting from the beginning")
    with enough_memory(), _compilable(config.compile):
        warm_up(state, task)
        # Later stages too: a fault in one should not show in the middle of the run.
        for later in range(state.stage + 1, len(config.stages)):
            first = begin(config.stages[later], seed, device)
            tried = TrainState([Particle(first)], stage=later, micro_batch=state.micro_batch)
            warm_up(tried, task)
            state.micro_batch = tried.micro_batch
    if state.micro_batch is not None:
        callbacks.warn(smaller_micro_batch(state))
    return state, checkpoint.elapsed_s if checkpoint else None


def first_budget(
    plan: Plan, state: TrainState, spent_s: float | None, phases: Phases, callbacks: Callbacks
) -> Budget:
    """The clock of the run. `UserError` if nothing is left for the first iteration of a new run."""
    request = plan.request
    seconds = request.minutes and 60 * request.minutes
    budget = Budget(request.steps, seconds, spent_s or 0.0, phases.started)
    budget.first = plan.begin
    each = export_seconds(state.representation, plan.config)
    budget.export_time_s = each * plan.request.particles
    resumed = spent_s is not None
    if resumed and (budget.over() or budget.steps is not None and state.step >= budget.steps):
        callbacks.info(
            "there is nothing left to do but its files; give more --minutes or --steps to go on"
        )
    phases.end("setup")
    if not resumed and budget.over():
        needs = phases.seconds | {"files at the end": budget.export_time_s}
        spent = ", ".join(f"{name} {needed:.0f} s" for name, needed in needs.items())
        advice = "give more, or run `gs3d doctor --build` first"
        advice += ", or leave `compile` out" if plan.config.compile else ""
        flag, number = objects_of(request)
        advice += f", or take fewer {flag}" if number > 1 else ""
        raise UserError(
            f"--minutes {request.minutes:g}: nothing is left for the first iteration ({spent}); "
            f"{advice}"
        )
    return budget


def normal_map_prompt(prompt: str) -> str:
    """The prompt for normal maps: their prefix in place of "a photo of" and its like."""
    lower = prompt.lower()
    begun = next((p for p in PREFIXES if lower.startswith(f"{p.lower()} ")), "")
    return f"{NORMALS_PREFIX} {prompt[len(begun) :].strip()}"


ITERATING = (
    "before the first iteration; use a smaller micro_batch, batch or resolution in --config, "
    "fewer --particles or --seeds, --vram 8, or --device cpu"
)
LOADING = (
    "while the prior was loaded; use `text_on_cpu: true` in --config, which --vram 8 sets too, a "
    "smaller model, or --device cpu"
)


@contextlib.contextmanager
def enough_memory(advice: str = ITERATING) -> Iterator[None]:
    """Turn a lack of memory before the first iteration into `advice`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise UserError(f"out of memory {advice}") from None


@contextlib.contextmanager
def _compilable(compiled: bool) -> Iterator[None]:
    """Turn an error of torch's compiler, which the first iteration shows, into one line."""
    try:
        yield
    except Exception as error:
        module = type(error).__module__
        if not compiled or not module.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"compile: torch cannot compile the networks here ({reason}); "
            "leave `compile` out of the config"
        ) from error


def load_prior(plan: Plan) -> Prior:
    """The prior of a run. One that is an object of the caller is checked."""
    if not isinstance(plan.prior, Source):
        # gs3d's own priors keep the contract. Compiled ones would compile for the check alone.
        if not isinstance(getattr(plan.prior, "source", None), Source):
            text = plan.request.prompt + VIEW_SUFFIX.format(view=VIEW_WORDS[0])
            with enough_memory():
                check_prior(plan.prior, text)
        return plan.prior
    config = plan.config
    with enough_memory(LOADING):
        return load(
            plan.prior,
            device=plan.device,
            attention=config.attention,
            checkpoint_encoder=config.checkpoint_encoder,
            vae=config.vae,
            vae_backward=config.vae_backward,
            compiled=config.compile,
            text_on_cpu=config.text_on_cpu,
        )


def _without_kind(prompt: str, prior: Prior) -> list[str]:
    """A warning if a prior that was trained on the procedural world gets a prompt without any of
    its kinds of object."""
    encoder = getattr(prior, "text", None)
    if encoder is None or not is_closed(encoder.tokenizer):
        return []
    if kinds_in(prompt, set(vocabulary(encoder.tokenizer))):
        return []
    return [
        f"prompt: names no kind of object that the prior {prior.name} knows, so do not expect one; "
        f"see {vocab_command(folder_name(prior))}"
    ]


def _checkpoint(plan: Plan, record: RunRecord) -> Checkpoint | None:
    """The checkpoint that a run resumes from; None to start from the beginning, as a run does that
    was killed before its first checkpoint."""
    if not plan.request.resume:
        return None
    record.check_same(plan.folder)
    checkpoint = newest_checkpoint(plan.folder / "checkpoint")
    if checkpoint is None and (kept := result_file(plan.folder)):
        raise UserError(
            f"--resume {plan.folder}: no checkpoint can be read there, and its {kept.name} is "
            "kept; choose another --out"
        )
    return checkpoint
