"""`gs3d clean IN -o OUT`: removes splats that should not be there; smooths, moves and rotates."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import (
    bytes_text,
    check_out,
    dropped_rows,
    saved,
    splats_file,
    warn,
    with_warnings,
)
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import FORMATS, load_splats

Box = tuple[float, float, float, float, float, float]
# Defaults that change nothing. With None as the default, tyro would not know how many values belong
# to the option, and would take IN for one of them.
NO_CROP: Box = (-math.inf, -math.inf, -math.inf, math.inf, math.inf, math.inf)
NO_ROTATION = (0.0, 0.0, 0.0)
Step = tuple[str, Callable[[Splats], Splats]]
MOVES = ("--smooth", "--center", "--radius", "--rotate-deg")
"""Steps that remove nothing."""


@dataclass(frozen=True)
class Args:
    """Remove, smooth, move, rescale and rotate splats. The steps run in the order of this list,
    whatever the order of the options. Invalid rows (NaN, infinity) are left out first. Only
    --smooth enlarges the remaining splats."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A splat file, or a run's folder with splats."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Output file, required. Its suffix decides the format. An existing file is replaced, but it
    cannot be IN."""
    crop: Annotated[Box, tyro.conf.arg(metavar="X0 Y0 Z0 X1 Y1 Z1", help_behavior_hint="")] = (
        NO_CROP
    )
    """Keep only splats inside this box, in world coordinates (+Z up, the front towards +X). gs3d
    info shows the bounds of a file."""
    min_opacity: float | None = None
    """Remove splats with a lower opacity, above 0 and at most 1. 0.02 is hardly visible."""
    max_scale: float | None = None
    """Remove splats with a longer axis, in units of the object's radius. 0.5 is far too large for a
    detail."""
    floaters: bool = False
    """Remove isolated splats: those whose 10th nearest neighbor is unusually far away, by over
    three robust deviations for this file, and over three times as far as for their neighbors. Then
    remove separate groups with less than 0.5 % of the splats."""
    decimate: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Keep the N splats that cover the most, by opacity × area."""
    smooth: Annotated[str | None, tyro.conf.arg(metavar="PX@SIZE")] = None
    """Widen each splat by PX pixels (standard deviation) of a view of SIZE pixels that the object
    fills, which closes the gaps and removes the grain that a file shows from closer than it was
    trained for (3D smoothing filter of Mip-Splatting). 0.55@512 for training renders of 512².
    Files of gs3d's own runs have it already."""
    center: Annotated[bool, tyro.conf.arg(aliases=["--centre"])] = False
    """Move the object to the origin, by the center of the bounds of 99.9 % of the splat centers."""
    radius: float | None = None
    """Rescale about the origin until 99.9 % of the splat centers lie within this distance of it.
    With --center, this is the radius of the object."""
    rotate_deg: Annotated[
        tuple[float, float, float], tyro.conf.arg(metavar="X Y Z", help_behavior_hint="")
    ] = NO_ROTATION
    """Rotate by X degrees about the world's X axis, then by Y about Y, then by Z about Z."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d clean", argv)
    _check(args)
    steps = _steps(args)
    if not steps:
        raise UserError(
            "clean: expected at least one of --crop, --min-opacity, --max-scale, --floaters, "
            "--decimate, --smooth, --center, --radius, --rotate-deg; see gs3d clean --help (to "
            "remove only invalid rows, use gs3d convert)"
        )
    if args.out is None:
        suffixes = ", ".join(sorted(FORMATS))
        raise UserError(
            f"-o: expected an output file, a name ending in one of {suffixes}, got nothing"
        )
    file = splats_file(args.source)
    suffix = check_out(args.out, file)
    splats, warnings = with_warnings(lambda path: load_splats(path, exact=True), file)
    warn(warnings)
    rows = len(splats) + dropped_rows(warnings)
    for name, step in steps:
        before = len(splats)
        splats = step(splats)
        if not len(splats):
            raise UserError(
                f"{name}: removes all {before} splats, so nothing was written; "
                f"gs3d info {args.source} shows bounds, opacities and sizes"
            )
        if name not in MOVES:
            say(f"{name:<14}{before - len(splats):>9} removed, {len(splats)} left")
    _, warnings = saved(args.out, suffix, splats)
    say(f"{len(splats)} of {rows} splats -> {args.out}, {bytes_text(args.out.stat().st_size)}")
    warn(warnings)
    return 0


def _check(args: Args) -> None:
    if args.smooth is not None:
        _smoothing(args.smooth)
    for flag, value, ok, expected in (
        ("min-opacity", args.min_opacity, lambda v: 0 < v <= 1, "a number above 0, at most 1"),
        ("max-scale", args.max_scale, lambda v: 0 < v < math.inf, "a number above 0"),
        ("decimate", args.decimate, lambda v: v >= 1, "a whole number, 1 or more"),
        ("radius", args.radius, lambda v: 0 < v < math.inf, "a number above 0"),
        (
            "rotate-deg",
            args.rotate_deg,
            lambda v: all(map(math.isfinite, v)),
            "three finite numbers",
        ),
        (
            "crop",
            args.crop,
            lambda v: all(low <= high for low, high in zip(v, v[3:], strict=False)),
            "X0 Y0 Z0 X1 Y1 Z1, the lower corner first",
        ),
    ):
        if value is not None and not ok(value):
            got = " ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:g}"
            raise UserError(f"--{flag}: expected {expected}, got {got}")


def _smoothing(text: str) -> tuple[float, int]:
    """(PX, SIZE) from "PX@SIZE"."""
    pixels, _, size = text.partition("@")
    try:
        values = float(pixels), int(size)
    except ValueError:
        values = math.nan, 0
    if not (8 <= values[1] <= 65536 and 0 < values[0] < values[1] / 4):
        raise UserError(
            "--smooth: expected PX@SIZE, as 0.55@512, with SIZE from 8 to 65536 and PX above 0 and "
            f"below a quarter of it, got {text!r}"
        )
    return values


def _steps(args: Args) -> list[Step]:
    """The requested steps in the order in which they run.

    Removal comes first, so that removed splats do not affect the statistics of later steps.
    Rescaling follows centering, so that the radius is that of the object.
    """
    from gs3d.ops import clean

    steps: list[tuple[bool, str, Callable[[Splats], Splats]]] = [
        (args.crop != NO_CROP, "--crop", lambda s: clean.crop(s, args.crop[:3], args.crop[3:])),
        (
            args.min_opacity is not None,
            "--min-opacity",
            lambda s: clean.drop_clear(s, cast("float", args.min_opacity)),
        ),
        (
            args.max_scale is not None,
            "--max-scale",
            lambda s: clean.drop_large(s, cast("float", args.max_scale)),
        ),
        (args.floaters, "--floaters", clean.drop_floaters),
        (
            args.decimate is not None,
            "--decimate",
            lambda s: clean.most_important(s, cast("int", args.decimate)),
        ),
        (
            args.smooth is not None,
            "--smooth",
            lambda s: clean.smoothed_for(s, *_smoothing(cast("str", args.smooth))),
        ),
        (args.center, "--center", clean.centered),
        (
            args.radius is not None,
            "--radius",
            lambda s: clean.fitted(s, cast("float", args.radius)),
        ),
        (
            args.rotate_deg != NO_ROTATION,
            "--rotate-deg",
            lambda s: clean.rotated(s, *args.rotate_deg),
        ),
    ]
    return [(name, step) for wanted, name, step in steps if wanted]
