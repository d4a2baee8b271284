"""Draw one view of each of many runs side by side, as docs/sixty.png.

`python scripts/draw_runs.py RUN … --out docs/sixty.png [--columns 12] [--px 112]`
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from PIL import Image

from gs3d.core.cameras import distance_for, orbit
from gs3d.io import load_asset
from gs3d.representations.asset import draw

FOVY_DEG, FILL = 38.0, 0.95


@dataclass(frozen=True)
class Args:
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs, or files of splats or meshes, in order."""
    out: Path
    columns: int = 12
    px: int = 112
    """Side of a view."""
    azimuth_deg: float = 35.0
    """From the object's front to its left."""
    elevation_deg: float = 15.0


def main(args: Args) -> None:
    fovy, azimuth, elevation = (
        torch.tensor([math.radians(a)]) for a in (FOVY_DEG, args.azimuth_deg, args.elevation_deg)
    )
    side = 2 * args.px  # drawn twice as large, then reduced, as a screen would show it
    camera = orbit(azimuth, elevation, distance_for(fovy, FILL), fovy, side, side)
    rows = -(-len(args.runs) // args.columns)
    grid = Image.new("RGB", (args.columns * args.px, rows * args.px), "white")
    for i, run in enumerate(args.runs):
        rgb = draw(load_asset(run), camera, (1.0, 1.0, 1.0)).rgb[0].clamp(0, 1)
        view = Image.fromarray((rgb * 255 + 0.5).byte().numpy()).resize((args.px, args.px))
        grid.paste(view, (i % args.columns * args.px, i // args.columns * args.px))
    grid.save(args.out, optimize=True)


if __name__ == "__main__":
    with torch.no_grad():
        main(tyro.cli(Args, description=__doc__))
