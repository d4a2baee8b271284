"""A whole run: from a prompt to a folder of files."""

import contextlib
import dataclasses
import json
import os
import time
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gs3d.core.errors import UserError
from gs3d.core.runtime.memory import keep_freed_blocks, peak_memory_mb
from gs3d.core.types import Mesh, Splats, TexturedMesh
from gs3d.distill.budget import Budget, process_age_s
from gs3d.distill.checkpoint import Checkpoint, newest_checkpoint
from gs3d.distill.config import load_config
from gs3d.distill.stages import RunConfig
from gs3d.distill.start import begin
from gs3d.distill.step import StepLog, Task, TrainState, rehearse
from gs3d.io import PLOT, SPLATS, load_splats, result_file
from gs3d.priors.base import Prior
from gs3d.priors.loading.autoencoder import autoencoder_place
from gs3d.priors.loading.components import read_index, views_of
from gs3d.priors.loading.resolve import default_prior, describe, load, resolve
from gs3d.priors.prompts import ViewPrompts, check_prompt, is_closed, vocab_command, vocabulary
from gs3d.representations.asset import Asset, primitive_count
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.history import read_record
from gs3d.runs.lock import locked
from gs3d.runs.loop import Outcome, is_memory, restore, start, train
from gs3d.runs.outputs.export_time import export_seconds
from gs3d.runs.outputs.files import Written, write_results
from gs3d.runs.outputs.preview_strip import SHEET, add_row, trim
from gs3d.runs.record import RunRecord
from gs3d.runs.request import (
    DEFAULT_MINUTES,
    Mode,
    Request,
    check_budget,
    default_folder,
    pick_folder,
    writable,
)
from gs3d.runs.signals import StopSignals, Wish
from gs3d.world.captions import NORMALS_PREFIX, PREFIXES
from gs3d.world.prompt_parser import kinds_in

FEW_STEPS = 100
"""Below, a run has hardly begun to have a shape: the presets for two CPU cores make some hundreds a minute."""


@dataclass(frozen=True)
class Result:
    """What a run made."""

    folder: Path
    outcome: Outcome
    asset: Asset | None
    """As it is in the file; None if nothing could be made of what was optimized, and a warning says why."""
    steps: int
    seconds: float
    files: list[Path]
    warnings: list[str] = field(default_factory=list)
    signalled: bool = False
    """Whether Ctrl-C or SIGTERM came, before its end or while the files were written."""

    @property
    def splats(self) -> Splats | None:
        return self.asset if isinstance(self.asset, Splats) else None

    @property
    def mesh(self) -> Mesh | TexturedMesh | None:
        return None if isinstance(self.asset, Splats) else self.asset


class Phases:
    """Seconds that each phase of a run took, one after the other without gaps."""

    def __init__(self, started: float):
        self.started = self.last = started
        self.seconds: dict[str, float] = {}

    def end(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name], self.last = now - self.last, now


def generate(
    request: Request,
    report: Callable[[StepLog, Budget], None] = lambda entry, budget: None,
    say: Callable[[str], None] = lambda line: None,
    from_process_start: bool = False,
    watch: Callable[[TrainState], Wish] = lambda state: "go on",
) -> Result:
    """Optimize splats, or a field and a surface, for a prompt, and write what `export.write_results` does, progress.png, log.png, run.yaml
    and log.jsonl.

    `report` is called after every iteration, `say` with lines for a person; those that begin with "warning: " are warnings. `watch` is
    shown the state after every iteration and says whether to go on, wait or stop. Raises `UserError` for anything the user can mend.
    """
    phases = Phases(time.monotonic() - (process_age_s() if from_process_start else 0.0))
    request = _checked(request)
    folder = pick_folder(request)
    device = request.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        keep_freed_blocks()
    prior_name = request.prior
    if prior_name == "auto":
        prior_name, why = default_prior(device)
        say(why)
    if request.config is not None:
        given = load_config(
            request.config, request.loss
        )  # a misspelt key should not wait for a download
        if given.vae is not None:
            autoencoder_place(given.vae)  # nor a misspelt name
    splats = _start(request)
    if (other := _other_prompt(request)) is not None:
        say(
            f"warning: --start {request.start}: was made for {other!r}; a surface changes little of what its splats are"
        )
    source = resolve(prior_name)
    config = _config(
        request, pixel="vae" not in read_index(source.folder), views=views_of(source.folder)
    )
    phases.end("start")
    if request.out is None and not request.resume and folder != (first := default_folder(request)):
        say(
            f"{first} holds a run already; this one goes to {folder}, and is what --resume would go on with"
        )
    with writable(folder), locked(folder):
        if pick_folder(request) != folder:
            raise UserError(f"--out {folder}: another run has just ended there; start again")
        return _run(
            request,
            folder,
            prior_name,
            config,
            splats,
            device,
            phases,
            Callbacks(report, say, watch),
        )


def _without_kind(prompt: str, prior: Prior) -> list[str]:
    """A line if a prior that knows the world alone is asked for none of its kinds: it will make something, and nobody knows what."""
    tokenizer = prior.text.tokenizer
    if not is_closed(tokenizer) or kinds_in(prompt, set(vocabulary(tokenizer))):
        return []
    return [
        f"prompt: names no kind of thing that the prior {prior.name} knows, so do not expect one; see {vocab_command(prior.name)}"
    ]


def _run(
    request: Request,
    folder: Path,
    prior_name: str,
    config: RunConfig,
    splats: Splats | None,
    device: str,
    phases: Phases,
    callbacks: Callbacks,
) -> Result:
    """The part of a run that has its folder for itself."""
    say = callbacks.say
    with _enough_memory():
        prior = load(
            prior_name,
            device=device,
            attention=config.attention,
            checkpoint_encoder=config.checkpoint_encoder,
            vae=config.vae,
            compiled=config.compile,
        )
    prompts = ViewPrompts.of(prior, request.prompt, config.negative)
    for line in (*prompts.warnings, *_without_kind(request.prompt, prior)):
        say(f"warning: {line}")
    normal_prompts = None
    if any(stage.normals for stage in config.stages):
        normal_prompts = ViewPrompts.of(prior, of_normals(request.prompt), config.negative)
        for line in dict.fromkeys(normal_prompts.warnings):
            if line not in prompts.warnings:
                say(f"warning: for normal maps: {line}")
    prior.free_text_encoder()
    record = RunRecord(request, config, describe(prior), device)
    task = Task(prior, prompts, config, request.seed, normal_prompts)
    phases.end("prior")
    checkpoint = _checkpoint(request, folder, record)
    state = (
        restore(config, checkpoint, device)
        if checkpoint
        else start(config, request.seed, device, splats)
    )
    if checkpoint:
        say(f"resumed {folder} at step {state.step} after {checkpoint.elapsed_s:.0f} s")
    elif request.resume:
        say(f"nothing to resume in {folder}: starting from the beginning")
    with _enough_memory(), _compilable(config.compile):
        rehearse(state, task)
        for later in range(
            state.stage + 1, len(config.stages)
        ):  # what a stage lacks should not show in the middle of the run
            rehearse(
                TrainState(begin(config.stages[later], request.seed, device), stage=later), task
            )
    budget = Budget(
        request.steps,
        request.minutes and 60 * request.minutes,
        checkpoint.elapsed_s if checkpoint else 0.0,
        phases.started,
    )
    budget.export_time_s = export_seconds(state.representation, config)
    if checkpoint and (budget.over() or budget.steps is not None and state.step >= budget.steps):
        say("there is nothing left to do but its files; give more --minutes or --steps to go on")
    phases.end("setup")
    if not checkpoint and budget.over():
        needs = phases.seconds | {"files at the end": budget.export_time_s}
        spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in needs.items())
        advice = "give more, or run `gs3d doctor --build` first" + (
            ", or leave `compile` out" if config.compile else ""
        )
        raise UserError(
            f"--minutes {request.minutes:g}: nothing is left for the first iteration ({spent}); {advice}"
        )
    # Only now: until here Ctrl-C and SIGTERM do what they always do, and there is nothing to export.
    with StopSignals(say) as stop:
        _trim_log(folder / "log.jsonl", state.step)
        trim(folder / SHEET, state.step)
        record.write(folder, phases.seconds, None)
        outcome = train(state, task, budget, folder, callbacks, stop)
        phases.end("optimize")
        written = write_results(folder, state.representation)
        if outcome == "finished" and request.minutes is not None and state.step < FEW_STEPS:
            written.warnings.append(
                f"only {state.step} iterations fitted into {request.minutes:g} min; a shape takes hundreds, so give more"
            )
        _write_course(folder, state, task, budget, written)
    phases.end("export")
    ended = {
        "outcome": outcome,
        "steps": state.step,
        **size_of(written.asset),
        "peak_memory_mb": peak_memory_mb(),
    }
    record.write(folder, phases.seconds, ended)
    files = [
        *written.files,
        *sorted(folder.glob("stage-*.ply")),
        folder / "run.yaml",
        folder / "log.jsonl",
    ]
    return Result(
        folder,
        outcome,
        written.asset,
        state.step,
        budget.elapsed_s(),
        files,
        written.warnings,
        stop.signalled,
    )


def _write_course(
    folder: Path, state: TrainState, task: Task, budget: Budget, written: Written
) -> None:
    """The last row of progress.png, and log.png."""
    again = "the same command with --resume"
    if task.config.progress_every_s:
        written.attempt(
            folder / SHEET, lambda path: add_row(path, state, task, budget.elapsed_s()), again
        )

    def plot(path: Path) -> None:
        from gs3d.runs.outputs.plot import write_plot

        write_plot(path, folder / "log.jsonl")

    written.attempt(folder / PLOT, plot, again)


@contextlib.contextmanager
def _enough_memory():
    """Turn a lack of memory before the first iteration into advice: there is nothing yet that could be exported."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise UserError(
            "out of memory before the first iteration; use a smaller batch or resolution in --config, or --device cpu"
        ) from None


@contextlib.contextmanager
def _compilable(asked: bool):
    """Turn what torch's compiler cannot do, which the first iteration finds out, into one line."""
    try:
        yield
    except Exception as error:
        if not asked or not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"compile: torch cannot compile the networks here ({reason}); leave `compile` out of the config"
        ) from error


def _checked(request: Request) -> Request:
    check_budget(request.minutes, request.steps)
    if request.mode not in typing.get_args(Mode):
        raise UserError(f"--mode {request.mode}: expected {' or '.join(typing.get_args(Mode))}")
    if request.device not in (None, "cpu", "cuda"):
        raise UserError(f"--device {request.device}: expected cpu or cuda")
    if request.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch finds no CUDA here; leave the option out, or see `gs3d doctor`"
        )
    minutes = (
        request.minutes
        if request.minutes is not None or request.steps is not None
        else DEFAULT_MINUTES
    )
    return dataclasses.replace(request, prompt=check_prompt(request.prompt), minutes=minutes)


def size_of(asset: Asset | None) -> dict[str, int]:
    """How many splats or triangles, for the record."""
    return (
        {}
        if asset is None
        else {"splats" if isinstance(asset, Splats) else "triangles": primitive_count(asset)}
    )


def of_normals(prompt: str) -> str:
    """What the normal map of a prompt's object is called: no photo of it, whatever the prompt begins with."""
    begun = next((p for p in PREFIXES if prompt.lower().startswith(f"{p.lower()} ")), "")
    return f"{NORMALS_PREFIX} {prompt[len(begun) :].strip()}"


def preset_for(pixel: bool, minutes: float | None, mode: Mode = "splats") -> str:
    """The preset for a prior over pixels or latents and a time; None stands for a run by steps."""
    if mode != "splats":
        return f"builtin-{mode}" if pixel else mode
    return "builtin" if pixel else "splats-15min" if minutes is None or minutes >= 5 else "preview"


def _config(request: Request, pixel: bool, views: int) -> RunConfig:
    """The settings named by the request, else the preset for this kind of prior and this time. `views`: how many it looks at together."""
    config = load_config(
        request.config or preset_for(pixel, request.minutes, request.mode), request.loss
    )
    if request.start is not None:
        if config.stages[0].representation != "splats" or len(config.stages) == 1:
            raise UserError(
                f"--start {request.start}: only what begins with splats and goes on to a surface can start there; add --mode mesh"
            )
        config = dataclasses.replace(config, stages=config.stages[1:])
    for stage in config.stages:
        if stage.batch % views:
            raise UserError(
                f"config: batch: expected a multiple of {views} for a prior that looks at {views} views at once, got {stage.batch}"
            )
    return config


def _start(request: Request) -> Splats | None:
    """The splats to begin from."""
    if request.start is None:
        return None
    if not request.start.exists():
        raise UserError(
            f"--start {request.start}: there is no such file or folder; expected a run's folder or a splat file"
        )
    file = request.start / SPLATS if request.start.is_dir() else request.start
    if not file.exists():
        raise UserError(
            f"--start {request.start}: expected a run that has made splats, but {SPLATS} is not in it"
        )
    return load_splats(file)


def _other_prompt(request: Request) -> str | None:
    """The prompt of the run that is started from, if it is another."""
    record = (
        read_record(request.start) if request.start is not None and request.start.is_dir() else None
    )
    return None if record is None or record["prompt"] == request.prompt else record["prompt"]


def _checkpoint(request: Request, folder: Path, record: RunRecord) -> Checkpoint | None:
    """Where a resumed run goes on; None begins at the beginning, which a run killed before its first checkpoint does as well."""
    if not request.resume:
        return None
    record.check_same(folder)
    checkpoint = newest_checkpoint(folder / "checkpoint")
    if checkpoint is None and (kept := result_file(folder)):
        raise UserError(
            f"--resume {folder}: no checkpoint can be read there, and its {kept.name} is kept; choose another --out"
        )
    return checkpoint


def _trim_log(path: Path, step: int) -> None:
    """Drop the rows of iterations that will be run again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] < step:
                kept.append(line)
        except (ValueError, KeyError):
            continue  # a half-written row
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text("".join(row + "\n" for row in kept))
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free some space, then use --resume"
        ) from None
