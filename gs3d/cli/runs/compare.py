"""`gs3d compare RUN RUN`: results of runs side by side, and the differences of their settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.assets.render import SHEET_PX
from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError
from gs3d.io.atomic import check_target

SUFFIXES = (".png", ".mp4", ".html")


@dataclass(frozen=True)
class Args:
    """Show the results of two or more runs side by side, from the same cameras, and print how their
    settings differ."""

    runs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN RUN [RUN ...]", help_behavior_hint="(two or more)"),
    ]
    """Folders of finished runs. Splats and meshes can be mixed."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("compare.png")
    """Output file. Its suffix decides the format: .png has a row of eight views for each run,
    .mp4 a turntable of all runs side by side, .html a slider between the first run and each other
    run."""
    size: int = 256
    """Side of each view in pixels, 96 to 1024."""
    elevation_deg: float = 15.0
    """Elevation of the camera in degrees, -90 (below) to 90 (above)."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d compare", argv)
    suffix = args.out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"-o {args.out}: expected a name ending in one of {', '.join(SUFFIXES)}")
    if not 96 <= args.size <= 1024:
        raise UserError(f"--size: expected 96 to 1024 pixels, got {args.size}")
    if not -90 <= args.elevation_deg <= 90:
        raise UserError(f"--elevation-deg: expected -90 to 90, got {args.elevation_deg}")
    if (most := SHEET_PX // (8 * args.size**2)) < len(args.runs):
        raise UserError(
            f"RUN: expected at most {most} runs at --size {args.size}, got {len(args.runs)}; "
            "lower --size"
        )
    check_target(args.out)
    from gs3d.experiments.compare import WRITERS, sides_of

    sides = sides_of(args.runs)
    WRITERS[suffix](args.out, sides, args.size, args.elevation_deg)
    for side in sides:
        say(f"{side.folder}: {side.prompt}: {side.method}; {side.taken}")
    say(f"-> {args.out}")
    return 0
