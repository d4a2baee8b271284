"""Measure an iteration with the built-in prior on a CPU: median milliseconds.

`python benchmarks/iteration.py [--prior DIRECTORY] [--record]`. The row "prior, 8 images" is one
evaluation of the denoiser for a batch of eight; it determined the size of the built-in prior.
"""

import dataclasses
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import tyro
from record import append, machine

from gs3d.core.cameras import ring
from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.distill.settings.config import load_config
from gs3d.distill.state import Task
from gs3d.distill.step import iterate
from gs3d.guidance import GUIDANCE
from gs3d.priors import ViewPrompts, load
from gs3d.runs.loop import start


@dataclass(frozen=True)
class Args:
    prior: str = "builtin"
    """Prior as for gs3d generate."""
    config: str = "builtin"
    """Preset or YAML file of the run."""
    runs: int = 20
    """Timed runs per row."""
    record: bool = False
    """Append the result to results.jsonl."""


def median_ms(call, runs: int) -> float:
    """Return the median time of `runs` calls in ms, after two calls that are not counted."""
    times = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return round(statistics.median(times[2:]), 2)


def main(args: Args) -> None:
    shared = machine()
    keep_freed_blocks()  # as a run does
    prior = load(args.prior, "cpu")
    prompts = ViewPrompts.of(prior, "a red mushroom with white spots")
    z, text = torch.randn(8, *prior.latent_shape), prompts.at(ring(8, 64)).text
    row = {"prior, 8 images": median_ms(lambda: prior.denoise(z, torch.ones(8), text), args.runs)}
    for guidance in GUIDANCE:
        config = load_config(args.config, guidance)
        (stage,) = config.stages
        densify = dataclasses.replace(stage.densify, start=2.0, stop=3.0)
        for count in (stage.gaussians.count, stage.densify.max_count):
            gaussians = dataclasses.replace(stage.gaussians, count=count)
            many = dataclasses.replace(
                config, stages=(dataclasses.replace(stage, densify=densify, gaussians=gaussians),)
            )
            state, task = start(many, 0, "cpu"), Task(prior, prompts, many, seed=0)
            row[f"{guidance} iteration, {count} splats"] = median_ms(
                partial(iterate, state, task, 0.3, 0.001), args.runs
            )
    for name, value in row.items():
        print(f"{name:<28} {value:8.1f} ms   {1e3 / value:6.2f} per second")
    if args.record:
        append(
            "iteration", {"ms": row, "prior": Path(args.prior).name, "batch": stage.batch}, shared
        )


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
