"""Measure the renderer of the procedural world: images per second at 64², four rays per pixel.

`python benchmarks/world.py [--device cuda] [--record]`
"""

import statistics
import time
from dataclasses import dataclass

import numpy as np
import tyro
from record import append, machine

from gs3d.core.cameras import CameraConfig, sample_cameras
from gs3d.core.rng import generator
from gs3d.world.render import Device, render
from gs3d.world.sample import sample


@dataclass(frozen=True)
class Args:
    images: int = 512
    """Images per run."""
    runs: int = 7
    """Timed runs."""
    device: Device = "cpu"
    """cuda renders on the GPU and needs numba-cuda."""
    record: bool = False
    """Append the result to results.jsonl."""


def main(args: Args) -> None:
    shared = machine()
    rng = np.random.default_rng(0)
    objects = [sample(rng).parts for _ in range(args.images)]
    cameras = sample_cameras(CameraConfig(), args.images, 0.0, generator(0, "world benchmark"))
    rates = []
    for _ in range(args.runs + 1):
        start = time.perf_counter()
        render(objects, cameras, device=args.device)
        rates.append(args.images / (time.perf_counter() - start))
    rate = round(statistics.median(rates[1:]), 1)
    print(f"{rate} images per second (fastest {max(rates[1:]):.0f}), {shared['cpu']}")
    if args.record:
        append("world", {"images_per_s": rate, "runs": args.runs, "device": args.device}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
