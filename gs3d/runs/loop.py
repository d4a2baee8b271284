"""The loop: iterate until the budget is spent, checkpoint on the way, stop cleanly on a signal or a run of bad gradients."""

import contextlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.distill.budget import Budget
from gs3d.distill.checkpoint import Checkpoint, newest_checkpoint, save_checkpoint
from gs3d.distill.stages import RunConfig
from gs3d.distill.start import begin, follow, from_state
from gs3d.distill.step import StepLog, Task, TrainState, iterate
from gs3d.representations.base import Representation
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.outputs.files import write_stage
from gs3d.runs.outputs.preview_strip import SHEET, PreviewStrip
from gs3d.runs.signals import StopSignals, obey

MAX_SKIPPED = 20
Outcome = Literal["finished", "interrupted", "terminated", "diverged", "out of memory"]


def start(config: RunConfig, seed: int, device: str, splats: Splats | None = None) -> TrainState:
    """The state of a run that has not begun; a surface begins as `splats` if there are any."""
    return TrainState(begin(config.stages[0], seed, device, splats))


def restore(config: RunConfig, checkpoint: Checkpoint, device: str) -> TrainState:
    """The state that was saved."""
    representation = from_state(checkpoint.tensors, config.stages[checkpoint.stage], device)
    return TrainState(
        representation,
        checkpoint.step,
        checkpoint.progress,
        checkpoint.accepted_progress,
        checkpoint.stage,
    )


def to_checkpoint(state: TrainState, elapsed_s: float) -> Checkpoint:
    """The state as it is saved."""
    return Checkpoint(
        state.step,
        elapsed_s,
        state.progress,
        state.accepted_progress,
        state.representation.state_tensors(),
        state.stage,
    )


def go_on(
    state: TrainState,
    config: RunConfig,
    progress: float,
    leave: Callable[[int, Representation], None] = lambda number, representation: None,
) -> None:
    """Enter the stage that is due at `progress`, by way of those between; `leave` is shown what each of them ends with, from number 1."""
    while state.stage < config.stage_at(progress):
        leave(state.stage + 1, state.representation)
        state.representation = follow(state.representation, config.stages[state.stage + 1])
        state.stage, state.accepted_progress = state.stage + 1, 0.0
        state.since = config.ends(state.stage)[0]


class RunLog:
    """log.jsonl, a row a step, so that a run can be replayed. A disk that fills up ends the log with a warning, not the run."""

    def __init__(self, path: Path, say: Callable[[str], None]):
        self.path, self.say = path, say
        self.file = open(path, "a")  # noqa: SIM115 - open for the whole run

    def add(self, entry: StepLog, budget: Budget) -> None:
        if self.file is None:
            return
        try:
            self.file.write(json.dumps(_row(entry, budget)) + "\n")
            self.file.flush()
        except OSError as error:
            self.say(f"warning: {self.path}: {error.strerror}; the run goes on without a log")
            self.close()

    def close(self) -> None:
        if self.file is not None:
            with contextlib.suppress(
                OSError
            ):  # what could not be flushed then cannot be flushed now
                self.file.close()
        self.file = None


def train(
    state: TrainState,
    task: Task,
    budget: Budget,
    folder: Path,
    callbacks: Callbacks,
    stop: StopSignals,
) -> Outcome:
    """Run `state` to the end of `budget`; rows go to `folder`/log.jsonl, pictures to progress.png and checkpoints to checkpoint/.

    Whatever ends the loop, `state` is whole afterwards: when memory runs out in the middle of a change, it is taken from the
    last checkpoint.
    """

    say = callbacks.say

    def keep() -> None:
        try:
            save_checkpoint(folder / "checkpoint", to_checkpoint(state, budget.elapsed_s()))
        except UserError as error:
            say(f"warning: {error}")

    def left(number: int, representation: Representation) -> None:
        sheet.add(state, task, budget.elapsed_s())
        try:
            write_stage(folder, number, representation)
        except UserError as error:
            say(f"warning: {error}")

    budget.begin(state.progress)
    state.since = min(task.config.ends(state.stage)[0], budget.progress(state.step))
    log, sheet = (
        RunLog(folder / "log.jsonl", say),
        PreviewStrip(folder / SHEET, task.config.progress_every_s, say),
    )
    saved, skipped_in_a_row, outcome = time.monotonic(), 0, "finished"
    try:
        while (progress := budget.progress(state.step)) < 1.0:
            go_on(state, task.config, progress, left)
            entry = iterate(state, task, progress, budget.share(progress, state.progress))
            skipped_in_a_row = skipped_in_a_row + 1 if entry.skipped else 0
            log.add(entry, budget)
            callbacks.report(entry, budget)
            obey(callbacks.watch, state, budget, stop)
            if skipped_in_a_row >= MAX_SKIPPED:
                outcome = "diverged"
                break
            if stop.name:
                outcome = stop.name
                break
            if time.monotonic() - saved > task.config.checkpoint_every_s:
                keep()
                saved = time.monotonic()
            sheet.look(state, task, budget.elapsed_s())
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error):
            keep() if state.representation.is_consistent() else None
            raise
        outcome = "out of memory"
        state.representation.discard_gradients()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if not state.representation.is_consistent():
            _back_to_checkpoint(state, task.config, folder)
    finally:
        log.close()
    keep()
    return outcome


def is_memory(error: Exception) -> bool:
    """Whether memory ran out: on the CPU torch says so in a plain RuntimeError."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(
        error
    )


def _back_to_checkpoint(state: TrainState, config: RunConfig, folder: Path) -> None:
    device = str(state.representation.device)
    checkpoint = newest_checkpoint(folder / "checkpoint")
    if checkpoint is None:
        raise UserError(
            "out of memory before the first checkpoint; use a smaller batch, resolution or max_count in --config"
        )
    old = restore(config, checkpoint, device)
    for name, value in vars(old).items():
        setattr(state, name, value)


def _row(entry: StepLog, budget: Budget) -> dict:
    return {
        "step": entry.step,
        "progress": entry.progress,
        "elapsed_s": round(budget.elapsed_s(), 2),
        "loss": _number(entry.loss),
        "grad_rms": _number(entry.grad_norm),
        entry.counts: entry.count,
        **{k: round(v, 4) for k, v in entry.values.items()},
        **({"skipped": True} if entry.skipped else {}),
    }


def _number(value: torch.Tensor) -> float | None:
    """Five digits, or None for NaN and Inf, which JSON does not have."""
    number = float(value)
    return float(f"{number:.5g}") if math.isfinite(number) else None
