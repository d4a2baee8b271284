"""Measure what each guidance loss costs beside its evaluations of the prior.

`python benchmarks/overhead.py [--losses csd nfsd] [--record]`. Times are processor times of the
calling thread, because an overhead of some milliseconds would be lost in the waiting for other work
on the machine. An evaluation is an image with and without the prompt.
"""

import dataclasses
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from record import append, machine
from torch import Tensor

from gs3d.core.cameras import ring
from gs3d.core.runtime.memory import keep_freed_blocks
from gs3d.distill.settings.config import load_config
from gs3d.guidance import GUIDANCE
from gs3d.guidance.distillation import Distillation
from gs3d.guidance.noise import SurfacePoints
from gs3d.priors import ViewPrompts, load
from gs3d.priors.base import Prior


@dataclass(frozen=True)
class Args:
    losses: tuple[str, ...] = tuple(GUIDANCE)
    """Names of the losses, with their settings in `config`."""
    prior: str = "builtin"
    """Prior as for gs3d generate."""
    config: str = "builtin"
    """Preset or YAML file of the settings."""
    negative: str | None = None
    """Negative prompt; None is the default of the prior."""
    views: int = 4
    """Images per step."""
    runs: int = 20
    """Timed steps per loss."""
    record: bool = False
    """Append the result to results.jsonl."""


class Timed:
    """A prior that adds up its images and the time that it takes."""

    def __init__(self, prior: Prior):
        self._prior, self.images, self.seconds = prior, 0, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._prior, name)

    def denoise(self, z: Tensor, *args: Tensor) -> Tensor:
        start = time.thread_time()
        denoised = self._prior.denoise(z, *args)
        self.seconds += time.thread_time() - start
        self.images += len(z)
        return denoised


def measure(loss, prior: Prior, prompts: ViewPrompts, args: Args) -> dict[str, float]:
    """Evaluations per step, and median times of a step, its evaluations and the rest of it."""
    condition = prompts.at(ring(args.views, 64))
    z0 = torch.randn(args.views, *prior.latent_shape, generator=torch.Generator().manual_seed(0))
    extra: dict[str, Any] = {}
    if isinstance(loss, Distillation) and loss.noise == "surface":
        solid = torch.ones(args.views, 64, 64, dtype=torch.bool)
        extra["surface"] = SurfacePoints(torch.zeros(args.views, 64, 64, 3), solid)
    steps = []
    for _ in range(args.runs + 1):
        timed, start = Timed(prior), time.thread_time()
        loss(timed, condition, z0, 0.5, 0, 0, **extra)
        whole = time.thread_time() - start
        steps.append((timed.images, whole, timed.seconds, whole - timed.seconds))
    # The first step is a warm-up.
    images, whole, pure, rest = (statistics.median(x) for x in zip(*steps[1:], strict=True))
    return {
        "evaluations": images / (2 * args.views),
        "ms": round(1e3 * whole, 2),
        "evaluations_ms": round(1e3 * pure, 2),
        "overhead_ms": round(1e3 * rest, 2),
        "overhead_percent": round(100 * rest / pure, 2),
    }


def main(args: Args) -> None:
    shared = machine()
    keep_freed_blocks()  # as a run does
    prior = load(args.prior, "cpu")
    prompts = ViewPrompts.of(prior, "a red mushroom with white spots", args.negative)
    rows = {}
    print(f"{'loss':<10} {'evaluations':>11} {'ms':>9} {'their ms':>9} {'overhead ms':>12}")
    for name in args.losses:
        loss = load_config(args.config, name).stages[0].guidance
        row = rows[name] = measure(loss, prior, prompts, args)
        print(
            f"{name:<10} {row['evaluations']:>11g} {row['ms']:>9.1f} {row['evaluations_ms']:>9.1f} "
            f"{row['overhead_ms']:>12.2f} {row['overhead_percent']:>6.2f} %"
        )
    if args.record:
        settings = dataclasses.asdict(args)
        kept = {key: settings[key] for key in ("prior", "config", "negative", "views")}
        append("overhead", {"losses": rows} | kept, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
