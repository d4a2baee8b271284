"""Draw a contact sheet of the procedural world: every kind from four sides, then random objects.

`python scripts/draw_world.py --out world.png` also prints the captions of the random objects.
"""

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

AZIMUTHS_DEG = (0.0, 45.0, 90.0, 180.0)
BACKGROUND = 0.92


@dataclass(frozen=True)
class Args:
    out: Path = Path("world.png")
    """PNG file to write."""
    size_px: int = 96
    """Side of a view."""
    columns: int = 12
    """Views per row."""
    mixed: int = 48
    """Number of random objects after the kinds."""
    seed: int = 3
    """Random seed."""


def main(args: Args) -> None:
    rng = np.random.default_rng(args.seed)
    views = [(sample(rng, kind, plain=True), angle) for kind in KINDS for angle in AZIMUTHS_DEG]
    for _ in range(args.mixed):
        random_object = sample(rng)
        views.append((random_object, 30.0))
        print(random_object.caption)
    azimuth = torch.tensor([angle for _, angle in views]).deg2rad()
    fovy = torch.full_like(azimuth, math.radians(38))
    cameras = orbit(
        azimuth,
        torch.full_like(azimuth, math.radians(15)),
        distance_for(fovy, 0.93),
        fovy,
        args.size_px,
        args.size_px,
    )
    images = render([one.parts for one, _ in views], cameras, supersample=3).over(
        np.full(3, BACKGROUND)
    )
    write_sheet(args.out, images, args.columns)
    print(f"{len(views)} views -> {args.out}")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
