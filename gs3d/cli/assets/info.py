"""`gs3d info FILE_OR_RUN`: statistics and problems of splats or a mesh."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import shown
from gs3d.cli.parse import parse
from gs3d.cli.paths import bytes_text, dropped_rows, one_line, with_warnings
from gs3d.core.errors import UserError, printable
from gs3d.core.types import Splats
from gs3d.io import MESH, SPLATS, asset_file, bytes_of, load_asset
from gs3d.io.atomic import read_error

BAR = 40
"""Length of the longest bar of a histogram, in characters."""


@dataclass(frozen=True)
class Args:
    """Print the size, bounds and problems of splats or a mesh. For splats, also histograms of
    opacities and scales; for a mesh, also whether it is watertight."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_RUN")]
    """A splat file, a mesh (.glb), or a run's folder."""
    json: bool = False
    """Print one JSON object instead of text. Lengths are in world units, shares from 0 to 1."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d info", argv)
    file = asset_file(args.file) if os.path.isdir(args.file) else args.file
    if file is None:
        raise UserError(
            f"{args.file}: expected a file or the folder of a finished run; "
            f"neither {SPLATS} nor {MESH} is in it"
        )
    try:
        size = bytes_of(file)
    except OSError as error:
        raise read_error(file, error) from error
    asset, warnings = with_warnings(load_asset, file)
    from gs3d.ops.stats import mesh_stats, oddities, splat_stats

    is_splats = isinstance(asset, Splats)
    stats = splat_stats(asset, dropped_rows(warnings)) if is_splats else mesh_stats(asset)
    problems = oddities(stats)
    texts = [one_line(warning) for warning in warnings]
    with shown():
        if args.json:
            tree = {"file": str(file), "file_bytes": size, **stats, "warnings": texts}
            print(json.dumps(tree | {"odd": problems, "sound": not problems}))
            return 0
        in_memory = bytes_text(stats["memory_bytes"])
        print(printable(f"{file}, {bytes_text(size)}, {in_memory} in memory"))
        print("\n".join(_splat_lines(stats) if is_splats else _mesh_lines(stats)))
        for text in texts:
            print(printable(f"warning: {text}"))
        print(f"verdict  {'; '.join(problems) or 'sound'}")
    return 0


def _splat_lines(stats: dict) -> list[str]:
    return [
        f"splats   {stats['count']}, SH degree {stats['sh_degree']}",
        *_position_lines(stats),
        "opacity",
        *_bars(stats["opacities"], ".1f"),
        "longest axis",
        *_bars(stats["longest_axes"], ".2g"),
        f"clear    {stats['nearly_clear']:.1%} have an opacity below 0.02",
        f"huge     {stats['huge']:.2%} are longer than a third of the extent",
        f"needles  {stats['needles']:.1%} have a longest axis over 100 times the shortest",
        f"left out {stats['left_out']} invalid rows",
    ]


def _mesh_lines(stats: dict) -> list[str]:
    size = stats["texture"]
    closed = "watertight" if stats["watertight"] else "not watertight"
    return [
        f"mesh     {stats['vertices']} vertices, {stats['faces']} triangles, {closed}",
        f"texture  {f'{size[1]} x {size[0]} pixels' if size else 'none'}",
        *_position_lines(stats),
    ]


def _position_lines(stats: dict) -> list[str]:
    sides = zip("xyz", stats["min"], stats["max"], strict=True)
    center = ", ".join(f"{value:.3f}" for value in stats["center"])
    return [
        "bounds   "
        + ", ".join(f"{axis} {low:.3f} to {high:.3f}" for axis, low, high in sides)
        + "; z is up",
        f"center   {center}; radius {stats['radius']:.3f} for 99.9 %",
    ]


def _bars(histogram: dict, number: str) -> list[str]:
    """A line for each bin, with its edges in the format `number`, its count and a bar."""
    edges, counts = histogram["edges"], histogram["counts"]
    lines = []
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        bar = "#" * -(-BAR * count // max(counts))
        lines.append(f"  {low:>8{number}} to {high:<8{number}}{count:>9}  {bar}".rstrip())
    return lines
