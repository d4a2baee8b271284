"""`gs3d render FILE`: a contact sheet or a turntable of any splat file or mesh."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError

FRAMES = {".png": 8, ".mp4": 120, ".gif": 48, ".webp": 48}
"""What can be written, and how many pictures it has."""
SHEET_PX = 200_000_000
"""Most pixels on a sheet: it is held in memory three times over, at three bytes a pixel, while it is written and checked."""


@dataclass(frozen=True)
class Args:
    """Draw a run, a splat file or a .glb: eight views as .png, or a turntable as .mp4, .gif or .webp."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A run's folder, splats or a mesh, e.g. outputs/…, outputs/…/splats.ply or mesh.glb."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write; the suffix decides between .png and .mp4, .gif, .webp. The file's name with .png when not given, render.png in a
    run's folder."""
    size: int = 512
    """Side of each picture in pixels."""
    views: int | None = None
    """Pictures on the sheet (8) or frames of the turntable (120; of .gif and .webp 48)."""
    elevation_deg: float = 15.0
    """Height of the camera."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d render", argv)
    out = args.out or (
        args.file / "render.png" if args.file.is_dir() else args.file.with_suffix(".png")
    )
    suffix = out.suffix.lower()
    if suffix not in FRAMES:
        raise UserError(f"-o {out}: expected a name ending in {', '.join(FRAMES)}")
    if not 16 <= args.size <= 4096:
        raise UserError(f"--size: expected 16 to 4096 pixels, got {args.size}")
    views = args.views if args.views is not None else FRAMES[suffix]
    if not 1 <= views <= 1000:
        raise UserError(f"--views: expected 1 to 1000, got {views}")
    if not -90 <= args.elevation_deg <= 90:
        raise UserError(f"--elevation-deg: expected -90 to 90, got {args.elevation_deg}")
    if suffix == ".png" and views * args.size**2 > SHEET_PX:
        fits = f"lower --size to {math.isqrt(SHEET_PX // views)} or --views to {SHEET_PX // args.size**2}"
        got = f"{views * args.size**2 / 1e6:.0f} ({views} pictures of {args.size}²)"
        raise UserError(
            f"--size, --views: expected a sheet of at most {SHEET_PX / 1e6:.0f} megapixels, got {got}; {fits}"
        )
    import gs3d
    from gs3d.runs.outputs.files import TURNTABLE_FPS, frames

    scene = gs3d.load(args.file)
    images = frames(scene.asset, gs3d.ring(views, args.size, args.elevation_deg))
    if suffix == ".png":
        from gs3d.io.image.png import write_sheet

        write_sheet(out, images, columns=min(4, views))
    elif suffix == ".mp4":
        from gs3d.io.image.mp4 import write_video

        write_video(out, images, fps=TURNTABLE_FPS)
    else:
        from gs3d.io.image.animation import write_animation

        write_animation(out, images, fps=TURNTABLE_FPS)
    say(f"{len(scene)} {'splats' if scene.splats else 'triangles'} -> {out}")
    return 0
