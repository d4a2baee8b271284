"""A sheet of the world: `python scripts/draw_world.py --out world.png`. Every kind from four sides, then whatever captions can say."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from gs3d.core.cameras import distance_for, orbit
from gs3d.io.image.png import write_sheet
from gs3d.world.kinds import KINDS
from gs3d.world.render import render
from gs3d.world.sample import sample

SIDES_DEG = (0.0, 45.0, 90.0, 180.0)
BACKGROUND = 0.92


@dataclass(frozen=True)
class Args:
    out: Path = Path("world.png")
    size_px: int = 96
    columns: int = 12
    mixed: int = 48
    """Pictures of anything, after those of every kind."""
    seed: int = 3


def main(args: Args) -> None:
    rng = np.random.default_rng(args.seed)
    shown = [(sample(rng, kind, plain=True), side) for kind in KINDS for side in SIDES_DEG]
    for _ in range(args.mixed):
        made = sample(rng)
        shown.append((made, 30.0))
        print(made.caption)
    azimuth = torch.tensor([side for _, side in shown]).deg2rad()
    fovy = torch.full_like(azimuth, math.radians(38))
    cameras = orbit(
        azimuth,
        torch.full_like(azimuth, math.radians(15)),
        distance_for(fovy, 0.93),
        fovy,
        args.size_px,
        args.size_px,
    )
    pictures = render([made.parts for made, _ in shown], cameras, supersample=3).over(
        np.full(3, BACKGROUND)
    )
    write_sheet(args.out, pictures, args.columns)
    print(f"{len(shown)} pictures -> {args.out}")


if __name__ == "__main__":
    main(tyro.cli(Args))
