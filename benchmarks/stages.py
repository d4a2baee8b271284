"""Measure an iteration in each stage of the built-in two-stage preset on a CPU: median seconds.

`python benchmarks/stages.py [--record]`. The surface comes from a field after about fifty
iterations and is larger than most.
"""

import statistics
import time
from dataclasses import dataclass

import tyro
from record import append, machine

from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.distill.settings.config import load_config
from gs3d.distill.state import Task
from gs3d.distill.step import iterate
from gs3d.priors import ViewPrompts, load
from gs3d.runs.loop import enter_stage, start

STEP = 1e-4
"""Progress per iteration, small enough that the stage does not change."""


@dataclass(frozen=True)
class Args:
    config: str = "builtin-two-stage"
    """Preset or YAML file of the run."""
    at: tuple[float, ...] = (0.05, 0.35, 0.62)
    """Progress of the run at each measurement, rising; in the preset: a field at 32², a field at
    64², and the surface."""
    runs: int = 20
    """Timed iterations per measurement."""
    record: bool = False
    """Append the result to results.jsonl."""


def main(args: Args) -> None:
    shared = machine()
    keep_freed_blocks()  # as a run does
    config, prior = load_config(args.config), load("builtin", "cpu")
    prompts = ViewPrompts.of(prior, "a red mushroom with white spots")
    state, task, row = start(config, 0, "cpu"), Task(prior, prompts, config, 0, prompts), {}
    for at in args.at:
        enter_stage(state, config, at)
        times = []
        for i in range(args.runs + 3):
            before = time.perf_counter()
            iterate(state, task, at + STEP * i, STEP)
            times.append(time.perf_counter() - before)
        row[f"progress {at}, {config.stages[state.stage].representation}"] = round(
            statistics.median(times[3:]), 3
        )
    for name, value in row.items():
        print(f"{name:<24} {value:6.3f} s   {1 / value:6.2f} per second")
    if args.record:
        append("stages", {"s": row, "config": args.config}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
