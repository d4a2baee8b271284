"""Measure whether a long run keeps its memory: resident MiB of the process over its iterations.

`python benchmarks/flat_memory.py [--mode mesh] [--record]` makes a whole run of 10,000 cheap
iterations, with its log, checkpoints and previews: few splats, tiny renders, and an untrained prior
of the shape of the built-in one, but smaller. The first iterations fill caches and do not count.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from record import append, machine

from gs3d.distill.budget import Budget
from gs3d.distill.step import StepLog
from gs3d.priors import builtin
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.execute import execute
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Mode, Request
from gs3d.world.captions import vocabulary_texts

CHEAP = (
    "batch=4",
    "cameras.resolution_px={at: [0.0], values: [16]}",
    "gaussians.count=200",
    "densify.max_count=400",
    "nerf={samples: 8, occupancy_resolution: 8}",
    "checkpoint_every_s=5",
)
SURFACE = "dmtet.resolution=12"


@dataclass(frozen=True)
class Args:
    steps: int = 10_000
    """Iterations of the run."""
    warm_up: int = 1_000
    """Iterations that do not count."""
    every: int = 50
    """Iterations between two samples."""
    mode: Mode = "splats"
    """What the run makes. With a surface, its stages have a memory each: give --warm-up past the
    change."""
    record: bool = False
    """Append the result to results.jsonl."""


def resident_mb() -> float:
    """Memory of this process that is in use now, in MiB. Linux alone tells it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def write_prior(folder: Path) -> None:
    """Write an untrained prior: images of 32² pixels, two layers."""
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    torch.manual_seed(0)
    backbone = builtin.new_backbone(image_size=32, layers=2, heads=2, head_width=16)
    torch.nn.init.normal_(backbone.proj_out.weight, std=0.1)  # zero before
    builtin.save(folder, backbone, builtin.new_text_encoder(tokenizer), tokenizer, 1)


def samples_of(args: Args, folder: Path) -> list[float]:
    """Resident MiB after each `every` iterations of a run."""
    write_prior(folder / "prior")
    request = Request(
        "a red mushroom",
        steps=args.steps,
        prior=str(folder / "prior"),
        out=folder / "run",
        device="cpu",
        mode=args.mode,
        set=CHEAP if args.mode == "splats" else (*CHEAP, SURFACE),
    )
    samples: list[float] = []

    def on_step(entry: StepLog, budget: Budget) -> None:
        if (entry.step + 1) % args.every == 0:
            samples.append(resident_mb())
        if (entry.step + 1) % (20 * args.every) == 0:
            print(f"step {entry.step + 1}: {samples[-1]:.1f} MiB", flush=True)

    execute(prepare(request), Callbacks(on_step=on_step))
    return samples


def main(args: Args) -> None:
    shared = machine()
    with tempfile.TemporaryDirectory() as name:
        samples = samples_of(args, Path(name))
    first, *counted = samples[args.warm_up // args.every - 1 :]
    growth = 100 * (max(counted) / first - 1)
    print(
        f"{first:.1f} MiB after {args.warm_up} iterations, at most {max(counted):.1f} until "
        f"{args.steps} ({growth:+.2f} %), {counted[-1]:.1f} at the end"
    )
    if args.record:
        megabytes = {"first": first, "largest": max(counted), "last": counted[-1]}
        row = {"mb": {name: round(mb, 1) for name, mb in megabytes.items()}}
        row |= {"growth_percent": round(growth, 2), "steps": args.steps, "mode": args.mode}
        append("flat_memory", row | {"warm_up": args.warm_up}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
