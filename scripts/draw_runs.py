"""Draw one or more views of each of many runs side by side.

`python scripts/draw_runs.py RUN … --out docs/sixty.png`, or for docs/mesh-mode.png
`python scripts/draw_runs.py RUN … --out docs/mesh-mode.png --columns 2 --azimuth-deg 0 45 135 225`
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
    """Runs in a row."""
    px: int = 112
    """Side of a view."""
    azimuth_deg: tuple[float, ...] = (35.0,)
    """Of each view, from the object's front to its left."""
    elevation_deg: float = 15.0


def main(args: Args) -> None:
    views = len(args.azimuth_deg)
    azimuth = torch.tensor([math.radians(a) for a in args.azimuth_deg])
    fovy, elevation = (
        torch.full((views,), math.radians(a)) for a in (FOVY_DEG, args.elevation_deg)
    )
    side = 2 * args.px  # drawn twice as large, then reduced, as a screen would show it
    cameras = orbit(azimuth, elevation, distance_for(fovy, FILL), fovy, side, side)
    rows = -(-len(args.runs) // args.columns)
    grid = Image.new("RGB", (args.columns * views * args.px, rows * args.px), "white")
    for i, run in enumerate(args.runs):
        rgb = draw(load_asset(run), cameras, (1.0, 1.0, 1.0)).rgb.clamp(0, 1)
        for j, pixels in enumerate((rgb * 255 + 0.5).byte().numpy()):
            view = Image.fromarray(pixels).resize((args.px, args.px))
            column = i % args.columns * views + j
            grid.paste(view, (column * args.px, i // args.columns * args.px))
    grid.save(args.out, optimize=True)


if __name__ == "__main__":
    with torch.no_grad():
        main(tyro.cli(Args, description=__doc__))
