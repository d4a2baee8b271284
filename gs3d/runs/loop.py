"""The loop of a run: iterate until the budget is spent, save checkpoints, stop cleanly."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from gs3d.core.errors import UserError
from gs3d.core.runtime import clock
from gs3d.core.runtime.exclusive import exclusive
from gs3d.core.types import Splats
from gs3d.distill.budget import Budget
from gs3d.distill.checkpoint import (
    Checkpoint,
    SavedParticle,
    newest_checkpoint,
    save_checkpoint,
)
from gs3d.distill.memory.room import check_room
from gs3d.distill.memory.shortage import is_memory, release
from gs3d.distill.settings.stages import RunConfig
from gs3d.distill.start import begin, follow, from_state
from gs3d.distill.state import Particle, Task, TrainState, particle_seed
from gs3d.distill.step import iterate
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.choice.choose import give_up, give_up_stuck
from gs3d.runs.folders import particle_folder
from gs3d.runs.outputs.files import write_stage
from gs3d.runs.outputs.log import LOG, RunLog
from gs3d.runs.outputs.preview_strip import STRIP, PreviewStrip
from gs3d.runs.signals import Pauses, StopSignals, apply_control

MAX_SKIPPED = 20
"""Iterations with NaN or Inf in a row after which a run counts as diverged."""
AT_STAGE: dict[str, Any] = {"accepted_progress": 0.0, "gradient_size": None}
"""What a particle begins each stage with."""
STAGES = {"splats": "splats", "nerf": "a radiance field", "dmtet": "a surface"}
"""Representation -> what a message calls it."""
Outcome = Literal["finished", "interrupted", "terminated", "diverged", "out of memory"]


def start(
    config: RunConfig,
    seed: int,
    device: str,
    splats: Splats | None = None,
    progress: float = 0.0,
    particles: int = 1,
    flag: str = "--particles",
) -> TrainState:
    """The state of a new run at `progress`. It starts from `splats` if they are given.

    Raises `UserError`, which names the option `flag`, if there is no room for so many particles.
    """
    in_stage = min(progress / config.ends(0)[1], 1.0)
    found: list[Particle] = []
    with exclusive():
        for index in range(particles):
            own_seed = particle_seed(seed, index)
            own = begin(config.stages[0], own_seed, device, splats, in_stage)
            if index == 0:
                check_room(particles, own, config.stages[0], flag)
            found.append(Particle(own, in_stage, progress=progress, number=index + 1))
    return TrainState(found, progress=progress)


def restore(config: RunConfig, checkpoint: Checkpoint, device: str) -> TrainState:
    """The state in a checkpoint."""
    stage, found = config.stages[checkpoint.stage], list[Particle]()
    for saved in checkpoint.particles:
        with exclusive():
            own = from_state(saved.tensors, stage, device)
        size = saved.gradient_size
        size = None if size is None else torch.tensor(size, device=own.device)
        at = (saved.number, saved.iterations)
        found.append(Particle(own, saved.accepted_progress, size, checkpoint.progress, 0, *at))
    return TrainState(
        found,
        checkpoint.step,
        checkpoint.progress,
        checkpoint.stage,
        model_tensors=checkpoint.model,
        rounds=checkpoint.rounds,
    )


def to_checkpoint(state: TrainState, elapsed_s: float) -> Checkpoint:
    """The inverse of `restore`."""
    saved: list[SavedParticle] = []
    for own in state.particles:
        size = None if own.gradient_size is None else float(own.gradient_size)
        tensors = own.representation.state_tensors()
        at = (own.number, own.iterations)
        saved.append(SavedParticle(tensors, own.accepted_progress, size, *at))
    # A model that is not there yet has what the last checkpoint had.
    model = state.model_tensors if state.model is None else state.model.state_tensors()
    at = (state.step, elapsed_s, state.progress)
    return Checkpoint(*at, saved, state.stage, model, state.rounds)


def enter_stage(
    state: TrainState,
    config: RunConfig,
    progress: float,
    leave: Callable[[], None] = lambda: None,
) -> None:
    """Advance to the stage that is due at `progress`, through those between. `leave` is called
    before each stage ends."""
    while state.stage < config.stage_at(progress):
        leave()
        after = config.stages[state.stage + 1]
        with exclusive():
            # In a list of its own: if one fails, the state is that of the stage before.
            new = [
                replace(p, representation=follow(p.representation, after), **AT_STAGE)
                for p in state.particles
            ]
        state.particles, state.stage = new, state.stage + 1
        # Renders of the next stage look different, and its loss may be another.
        state.model, state.model_tensors = None, {}
        state.since = config.ends(state.stage)[0]


def train(
    state: TrainState,
    task: Task,
    budget: Budget,
    folder: Path,
    callbacks: Callbacks,
    stop: StopSignals,
    pauses: Pauses,
    took: Callable[[float], None] | None = None,
) -> Outcome:
    """Run `state` to the end of `budget`. Writes log.jsonl, progress.png and checkpoint/. `took` is
    told the seconds of each iteration.

    `state` is consistent afterwards in any case: if memory runs out in the middle of a change,
    it is restored from the newest checkpoint.
    """

    failing = False

    def save() -> None:
        nonlocal failing
        try:
            save_checkpoint(folder / "checkpoint", to_checkpoint(state, budget.elapsed_s()))
            failing = False
        except UserError as error:
            # Said once for a disk that stays full.
            if not failing:
                callbacks.warn(error.for_command_line)
            failing = True

    def leave() -> None:
        strip.add(state, task, budget.elapsed_s())
        for index, particle in enumerate(state.particles):
            try:
                write_stage(
                    particle_folder(folder, index), state.stage + 1, particle.representation
                )
            except UserError as error:
                callbacks.warn(error.for_command_line)
        after, number = state.stage + 2, len(task.config.stages)
        what = STAGES[task.config.stages[state.stage + 1].representation]
        callbacks.info(f"stage {after} of {number}: {what}")

    budget.begin(state.progress)
    state.since = min(task.config.ends(state.stage)[0], budget.progress(state.step))
    log = RunLog(folder / LOG, callbacks.warn)
    strip = PreviewStrip(folder / STRIP, task.config.progress_every_s, callbacks.warn)
    saved, outcome = clock.now(), "finished"
    try:
        while (progress := budget.progress(state.step)) < 1.0:
            give_up(state, task, progress, folder, callbacks)
            enter_stage(state, task.config, progress, leave)
            before, particle = state.micro_batch, state.particles[state.turn]
            share = budget.share(progress, particle.progress, len(state.particles))
            began = clock.now()
            entry = iterate(state, task, progress, share)
            if took is not None:
                took(clock.now() - began)
            if state.micro_batch != before:
                callbacks.warn(smaller_micro_batch(state))
            log.add(entry, budget)
            callbacks.on_step(entry, budget)
            pauses.tell()
            apply_control(callbacks.control, state, budget, stop)
            stuck = particle.skipped >= MAX_SKIPPED
            if stuck and not give_up_stuck(state, task, particle, callbacks):
                outcome = "diverged"
                break
            if stop.name:
                outcome = stop.name
                break
            if clock.now() - saved > task.config.checkpoint_every_s:
                save()
                saved = clock.now()
            strip.update(state, task, budget.elapsed_s())
        if outcome == "finished":
            give_up(state, task, 1.0, folder, callbacks)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error):
            if state.is_consistent():
                save()
            raise
        outcome = "out of memory"
        state.discard_gradients()
        release()
        if not state.is_consistent():
            _restore_newest(state, task.config, folder)
    finally:
        log.close()
    skipped = max(p.skipped for p in state.particles)
    exported = state.particles[: 1 if task.candidates > 1 else None]
    if outcome == "finished" and any(p.is_stuck() for p in exported):
        outcome = "diverged"  # a short run in which nothing ever changed
    elif outcome == "finished" and skipped:
        callbacks.warn(f"NaN or Inf: the last {skipped} iterations{_of_any(state)} changed nothing")
    save()
    return outcome


def _of_any(state: TrainState) -> str:
    """Names the particle that was skipped the longest, if there are several."""
    if len(state.particles) == 1:
        return ""
    worst = max(state.particles, key=lambda p: p.skipped)
    return f" of particle {worst.number}"


def smaller_micro_batch(state: TrainState) -> str:
    """Says that memory ran out, and what is done about it."""
    rows = state.micro_batch
    return (
        f"out of memory: the run goes on with at most {rows} view{'s' * (rows != 1)} at once in "
        f"the prior, as `micro_batch: {rows}` in the config has it from the start"
    )


def _restore_newest(state: TrainState, config: RunConfig, folder: Path) -> None:
    device = str(state.representation.device)
    checkpoint = newest_checkpoint(folder / "checkpoint")
    if checkpoint is None:
        raise UserError(
            "out of memory before the first checkpoint; use a smaller micro_batch, batch, "
            "resolution or max_count in --config, or fewer --particles or --seeds"
        )
    for name, value in vars(restore(config, checkpoint, device)).items():
        setattr(state, name, value)
