"""The end of a round: score the objects of a run, and give up those that are behind."""

from pathlib import Path
from typing import Any

import torch

from gs3d.distill.memory.shortage import is_memory, release
from gs3d.distill.state import Particle, Round, Task, TrainState, particle_seed
from gs3d.distill.step import micro_batch_of, stage_progress
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.choice.picture import write_round
from gs3d.runs.choice.rounds import last_of, left_at
from gs3d.runs.choice.score import WORST, score_of


def give_up(
    state: TrainState, task: Task, progress: float, folder: Path, callbacks: Callbacks
) -> None:
    """Give up the objects that are too many at `progress` of the run, those with the lowest scores,
    and put the others in order, the best first. Writes a picture of all.

    It waits until each has had an iteration. An object whose last one gave NaN or Inf is behind all
    others. If memory is full, the order stays as it is.
    """
    left = left_at(task.candidates, progress, last_of(task.config))
    if task.candidates == 1 or left >= len(state.particles):
        return
    if not all(particle.iterations for particle in state.particles):
        return
    now = stage_progress(state, task, progress)
    try:
        rows = micro_batch_of(state, task)
        scores = {p.number: score_of(p.representation, task, now, rows) for p in state.particles}
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        release()
        callbacks.warn("seeds: no memory to judge them; the first go on")
        scores = {p.number: 0.0 for p in state.particles}
    ordered = sorted(state.particles, key=lambda p: (p.skipped > 0, -scores[p.number], p.number))
    found = Round(progress, scores, [p.number for p in ordered[:left]])
    try:
        write_round(folder, len(state.rounds) + 1, ordered, found, now)
    except Exception as error:  # a picture is no reason to end a run
        callbacks.warn(f"picture of the seeds: {' '.join(str(error).split())}")
    state.particles = ordered[:left]
    state.rounds.append(found)
    callbacks.info(told(found))


def told(found: Round) -> str:
    """A round in one line."""
    scores = sorted(found.scores.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{number} ({score:.3f})" for number, score in scores)
    kept = " and ".join(map(str, found.kept))
    return f"seeds by score: {listed}; {kept} go{'es' * (len(found.kept) == 1)} on"


def give_up_stuck(state: TrainState, task: Task, particle: Particle, callbacks: Callbacks) -> bool:
    """Give up an object whose iterations give NaN or Inf, in a run that keeps the best of several
    and has another one. Returns whether it did."""
    if task.candidates == 1 or len(state.particles) == 1:
        return False
    state.particles = [p for p in state.particles if p is not particle]
    kept = [p.number for p in state.particles]
    state.rounds.append(Round(state.progress, {particle.number: WORST}, kept))
    callbacks.warn(f"seeds: number {particle.number} gave NaN or Inf; the others go on")
    return True


def record_of_choice(state: TrainState, task: Task) -> dict[str, Any]:
    """What run.yaml says of the choice; nothing for a run that keeps all that it begins with.

    `left` is above 1 in a run that was stopped before one was chosen.
    """
    if task.candidates == 1:
        return {}
    number = state.particles[0].number
    rounds = [
        {
            "progress": round(one.progress, 4),
            "scores": {number: round(score, 4) for number, score in one.scores.items()},
            "kept": one.kept,
        }
        for one in state.rounds
    ]
    own_seed = particle_seed(task.seed, number - 1)
    left = len(state.particles)
    return {"choice": {"number": number, "seed": own_seed, "left": left, "rounds": rounds}}
