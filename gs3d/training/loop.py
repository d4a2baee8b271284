"""The loop: iterate until the budget is spent, checkpoint on the way, stop cleanly on a signal or a run of bad gradients."""

import contextlib
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from gs3d.core.errors import UserError
from gs3d.priors.base import Prior
from gs3d.priors.prompts import ViewPrompts
from gs3d.representations.densify import Densifier
from gs3d.representations.gaussians import Gaussians
from gs3d.training.budget import Budget
from gs3d.training.checkpoint import Checkpoint, save_checkpoint
from gs3d.training.config import RunConfig
from gs3d.training.step import StepLog, iterate

MAX_SKIPPED = 20
Outcome = Literal["finished", "interrupted", "terminated", "diverged", "out of memory"]


@dataclass
class TrainState:
    """All that changes in a run."""

    gaussians: Gaussians
    densifier: Densifier
    step: int = 0
    progress: float = 0.0

    def checkpoint(self, elapsed_s: float) -> Checkpoint:
        tensors = self.gaussians.state_tensors() | self.densifier.state_tensors()
        return Checkpoint(self.step, elapsed_s, self.progress, tensors)

    @staticmethod
    def start(config: RunConfig, seed: int, device: str) -> "TrainState":
        return TrainState(Gaussians.blob(config.gaussians, seed, device), Densifier(config.densify))

    @staticmethod
    def restore(config: RunConfig, checkpoint: Checkpoint, device: str) -> "TrainState":
        state = TrainState(
            Gaussians.from_state(checkpoint.tensors, config.gaussians, device),
            Densifier(config.densify),
            checkpoint.step,
            checkpoint.progress,
        )
        state.densifier.load_state(checkpoint.tensors, device)
        return state


class StopSignals:
    """While open, Ctrl-C and SIGTERM set `name` instead of ending the process; a second Ctrl-C does what it always did."""

    name: Literal["interrupted", "terminated"] | None = None

    def __enter__(self) -> "StopSignals":
        try:
            self._old = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: the caller keeps its own way to stop
            self._old = {}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, _) -> None:
        self.name = "interrupted" if number == signal.SIGINT else "terminated"
        signal.signal(number, self._old[number])


class RunLog:
    """log.jsonl, a row every ten steps. A disk that fills up ends the log with a warning, not the run."""

    def __init__(self, path: Path, say: Callable[[str], None]):
        self.path, self.say = path, say
        self.file = open(path, "a")  # noqa: SIM115 - open for the whole run

    def add(self, entry: StepLog, budget: Budget) -> None:
        if self.file is None or (entry.step % 10 and not entry.skipped):
            return
        try:
            self.file.write(json.dumps(_row(entry, budget)) + "\n")
            self.file.flush()
        except OSError as error:
            self.say(f"warning: {self.path}: {error.strerror}; the run goes on without a log")
            self.close()

    def close(self) -> None:
        if self.file is not None:
            with contextlib.suppress(OSError):  # what could not be flushed then cannot be flushed now
                self.file.close()
        self.file = None


def train(
    state: TrainState,
    prior: Prior,
    prompts: ViewPrompts,
    config: RunConfig,
    budget: Budget,
    seed: int,
    folder: Path,
    report: Callable[[StepLog, Budget], None],
    say: Callable[[str], None],
    stop: StopSignals,
) -> Outcome:
    """Run `state` to the end of `budget`; rows go to `folder`/log.jsonl and checkpoints to `folder`/checkpoint."""

    def keep() -> None:
        try:
            save_checkpoint(folder / "checkpoint", state.checkpoint(budget.elapsed_s()))
        except UserError as error:
            say(f"warning: {error}")

    budget.begin(state.progress)
    log = RunLog(folder / "log.jsonl", say)
    saved, skipped_in_a_row, outcome = time.monotonic(), 0, "finished"
    try:
        while (progress := budget.progress(state.step)) < 1.0:
            entry = iterate(state.gaussians, state.densifier, prior, prompts, config, state.progress, progress, seed, state.step)
            state.step, state.progress = state.step + 1, progress
            skipped_in_a_row = skipped_in_a_row + 1 if entry.skipped else 0
            log.add(entry, budget)
            report(entry, budget)
            if skipped_in_a_row >= MAX_SKIPPED:
                outcome = "diverged"
                break
            if stop.name:
                outcome = stop.name
                break
            if time.monotonic() - saved > config.checkpoint_every_s:
                keep()
                saved = time.monotonic()
    except torch.OutOfMemoryError:
        state.gaussians.discard_gradients()
        torch.cuda.empty_cache()
        outcome = "out of memory"
    finally:
        log.close()
    keep()
    return outcome


def _row(entry: StepLog, budget: Budget) -> dict:
    return {
        "step": entry.step,
        "progress": round(entry.progress, 6),
        "elapsed_s": round(budget.elapsed_s(), 2),
        "grad_rms": float(f"{float(entry.grad_norm):.5g}"),
        "splats": entry.count,
        **{k: round(v, 4) for k, v in entry.values.items()},
        **({"skipped": True} if entry.skipped else {}),
    }
