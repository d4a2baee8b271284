"""`gs3d compare RUN RUN`: what runs have made side by side, and what is different about their settings."""

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
    """Put what two runs or more have made side by side, seen by the same cameras, and say what is different about their settings."""

    runs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN RUN [RUN ...]", help_behavior_hint="(two or more)"),
    ]
    """Folders of runs that have ended; splats and meshes may be mixed."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("compare.png")
    """Where to write; the suffix decides: .png has a row of eight views a run, .mp4 turns them side by side, .html lays each over the
    first with a slider."""
    size: int = 256
    """Side of each picture in pixels."""
    elevation_deg: float = 15.0
    """Height of the camera."""


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
            f"RUN: expected at most {most} runs at --size {args.size}, got {len(args.runs)}; lower --size"
        )
    check_target(args.out)
    from gs3d.experiments.compare import WRITERS, sides_of

    sides = sides_of(args.runs)
    WRITERS[suffix](args.out, sides, args.size, args.elevation_deg)
    for side in sides:
        say(f"{side.folder}: {side.prompt}: {side.method}; {side.taken}")
    say(f"-> {args.out}")
    return 0
