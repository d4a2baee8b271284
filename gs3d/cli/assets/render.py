"""`gs3d render FILE`: a contact sheet or a turntable of a splat file or a mesh."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError

if TYPE_CHECKING:
    from gs3d.representations.asset import Asset

FRAMES = {".png": 8, ".mp4": 120, ".gif": 48, ".webp": 48}
"""Suffix -> default number of views on a contact sheet, or of frames of a turntable."""
SHEET_PX = 200_000_000
"""Largest number of pixels on a contact sheet. While it is written and checked, it is in memory
three times, at three bytes a pixel."""


@dataclass(frozen=True)
class Args:
    """Render splats or a mesh: eight views as .png, or a turntable as .mp4, .gif or .webp."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A run's folder, a splat file or a mesh (.glb), e.g. outputs/… or outputs/…/splats.ply."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Output file. Its suffix decides the format: .png, .mp4, .gif or .webp. Default: render.png in
    a run's folder, or the input file's name with .png."""
    size: int = 512
    """Side of each view in pixels, 16 to 4096."""
    views: int | None = None
    """Number of views of a .png, default 8, or of frames of a turntable, default 120 for .mp4 and
    48 for .gif and .webp. At most 1000."""
    elevation_deg: float = 15.0
    """Elevation of the camera in degrees, -90 (below) to 90 (above)."""
    panorama: bool = False
    """A panorama of a scene from inside, as a .png of 2 × 1 times --size: all that is seen from the
    origin."""
    fixed_cameras: bool = False
    """Leave the cameras where they look at a ball of radius 1 about the origin, so that pictures of
    several files compare. By default an object that lies elsewhere, or is far larger or smaller,
    fills the picture."""


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
    if args.panorama:
        _check_panorama(args, suffix)
    views = args.views if args.views is not None else FRAMES[suffix]
    if not 1 <= views <= 1000:
        raise UserError(f"--views: expected 1 to 1000, got {views}")
    if not -90 <= args.elevation_deg <= 90:
        raise UserError(f"--elevation-deg: expected -90 to 90, got {args.elevation_deg}")
    if suffix == ".png" and views * args.size**2 > SHEET_PX:
        size, fewer = math.isqrt(SHEET_PX // views), SHEET_PX // args.size**2
        raise UserError(
            f"--size, --views: expected an image of at most {SHEET_PX / 1e6:.0f} megapixels, got "
            f"{views * args.size**2 / 1e6:.0f} ({views} views of {args.size}²); "
            f"lower --size to {size} or --views to {fewer}"
        )
    import gs3d
    from gs3d.ops.place import framed
    from gs3d.runs.outputs.files import TURNTABLE_FPS, frames

    scene = gs3d.load(args.file)
    if args.panorama:
        return _write_panorama(scene.asset, out, args.size)
    asset = scene.asset if args.fixed_cameras else framed(scene.asset)
    images = frames(asset, gs3d.ring(views, args.size, args.elevation_deg))
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


def _check_panorama(args: Args, suffix: str) -> None:
    if suffix != ".png":
        raise UserError(f"--panorama: expected a name ending in .png, got {suffix}")
    if args.views is not None or args.fixed_cameras or args.elevation_deg != Args.elevation_deg:
        raise UserError(
            "--panorama: shows all directions from the origin; leave out --views, --elevation-deg "
            "and --fixed-cameras"
        )


def _write_panorama(asset: "Asset", out: Path, size: int) -> int:
    from gs3d.io.image.png import write_sheet
    from gs3d.runs.outputs.files import panorama_of

    write_sheet(out, [panorama_of(asset, size)], columns=1)
    say(f"panorama of {2 * size} × {size} pixels -> {out}")
    return 0
