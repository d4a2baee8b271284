"""`gs3d clean IN -o OUT`: splats without what should not be there, where and how large they should be."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import bytes_text, check_out, recorded, rows_left_out, splats_file, warn
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import WRITERS, load_splats, save_splats

Box = tuple[float, float, float, float, float, float]
SPACE: Box = (-math.inf, -math.inf, -math.inf, math.inf, math.inf, math.inf)
UNTURNED = (0.0, 0.0, 0.0)
"""Defaults that change nothing, and not None: of `X | None` tyro does not know how many values belong to it, and takes IN for one."""
Step = tuple[str, Callable[[Splats], Splats]]
MOVES = ("--center", "--radius", "--rotate-deg")
"""Steps that remove nothing."""


@dataclass(frozen=True)
class Args:
    """Whatever steps are given, always in the order of this list. Rows of NaN are left out first. Splats that stay are not enlarged to fill
    gaps."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
    """A splat file, or the folder of a run that has made splats."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write, in any format; not IN itself. A file of this name is replaced."""
    crop: Annotated[Box, tyro.conf.arg(metavar="X0 Y0 Z0 X1 Y1 Z1")] = SPACE
    """Keep what lies in this box of the world (+Z up, the front towards +X), as gs3d info gives bounds."""
    min_opacity: float | None = None
    """Remove splats below this opacity; 0.02 is hardly seen."""
    max_scale: float | None = None
    """Remove splats whose longest axis is above this, in units of the object's radius; 0.5 is far too large for a detail."""
    floaters: bool = False
    """Remove splats whose 10th nearest neighbor is more than three robust deviations further away than is usual, and three times
    as far as is usual around them; then groups apart from the rest, with less than 0.5 % of the splats."""
    decimate: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Keep the N splats that cover most, by opacity × area."""
    center: Annotated[bool, tyro.conf.arg(aliases=["--centre"])] = False
    """Move the middle of the bounds of 99.9 % of the means to the origin."""
    radius: float | None = None
    """Rescale about the origin until 99.9 % of the means lie within this distance of it; with --center, the object's radius."""
    rotate_deg: Annotated[tuple[float, float, float], tyro.conf.arg(metavar="X Y Z")] = UNTURNED
    """Turn by X about the world's X axis, then by Y about its Y, then by Z about its Z."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d clean", argv)
    _check(args)
    steps = _steps(args)
    if not steps:
        flags = "--crop, --min-opacity, --max-scale, --floaters, --decimate, --center, --radius, --rotate-deg"
        raise UserError(
            f"clean: expected at least one of {flags}; see gs3d clean --help (gs3d convert alone leaves out rows of NaN)"
        )
    if args.out is None:
        raise UserError(
            f"-o: expected where to write, a name ending in one of {', '.join(sorted(WRITERS))}, got nothing"
        )
    file = splats_file(args.source)
    check_out(args.out, file)
    splats, warnings = recorded(load_splats, file)
    warn(warnings)
    first = len(splats) + rows_left_out(warnings)
    for name, step in steps:
        before = len(splats)
        splats = step(splats)
        if not len(splats):
            what = f"nothing is left of {before} splats and nothing was written"
            raise UserError(
                f"{name}: {what}; gs3d info {args.source} shows bounds, opacities and sizes"
            )
        if name not in MOVES:
            say(f"{name:<14}{before - len(splats):>9} removed, {len(splats)} left")
    _, warnings = recorded(lambda path: save_splats(path, splats), args.out)
    say(f"{len(splats)} of {first} splats -> {args.out}, {bytes_text(args.out.stat().st_size)}")
    warn(warnings)
    return 0


def _check(args: Args) -> None:
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
            "X0 Y0 Z0 X1 Y1 Z1, the lower ends first",
        ),
    ):
        if value is not None and not ok(value):
            got = " ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else f"{value:g}"
            raise UserError(f"--{flag}: expected {expected}, got {got}")


def _steps(args: Args) -> list[Step]:
    """What was asked for, in the order that it is done in: what is cut off counts in no statistics, and a radius is that of the object."""
    from gs3d.ops import clean

    steps: list[tuple[bool, str, Callable[[Splats], Splats]]] = [
        (args.crop != SPACE, "--crop", lambda s: clean.crop(s, args.crop[:3], args.crop[3:])),
        (
            args.min_opacity is not None,
            "--min-opacity",
            lambda s: clean.drop_clear(s, args.min_opacity),
        ),
        (args.max_scale is not None, "--max-scale", lambda s: clean.drop_large(s, args.max_scale)),
        (args.floaters, "--floaters", clean.drop_floaters),
        (args.decimate is not None, "--decimate", lambda s: clean.most_important(s, args.decimate)),
        (args.center, "--center", clean.centered),
        (args.radius is not None, "--radius", lambda s: clean.fitted(s, args.radius)),
        (args.rotate_deg != UNTURNED, "--rotate-deg", lambda s: clean.rotated(s, *args.rotate_deg)),
    ]
    return [(name, step) for wanted, name, step in steps if wanted]
