"""`gs3d info FILE`: what a splat file or a mesh is like, and whether it is sound."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import shown
from gs3d.cli.parse import parse
from gs3d.cli.paths import bytes_text, recorded, rows_left_out
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import MESH, SPLATS, load_asset, result_file
from gs3d.io.atomic import read_error

BAR = 40
"""Characters of the longest bar of a histogram."""


@dataclass(frozen=True)
class Args:
    """Count, bounds, opacities, scales and what is odd, of splats; of a mesh whether it is closed."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_RUN")]
    """Splats, a mesh (.glb), or a run's folder."""
    json: bool = False
    """One JSON object instead of a text for people. Lengths are in units of the world, shares from 0 to 1."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d info", argv)
    file = result_file(args.file) if os.path.isdir(args.file) else args.file
    if file is None:
        raise UserError(
            f"{args.file}: expected a file or the folder of a finished run; neither {SPLATS} nor {MESH} is in it"
        )
    try:
        size = file.stat().st_size
    except OSError as error:
        raise read_error(file, error) from error
    asset, warnings = recorded(load_asset, file)
    from gs3d.ops.stats import mesh_stats, oddities, splat_stats

    stats = (
        splat_stats(asset, rows_left_out(warnings))
        if isinstance(asset, Splats)
        else mesh_stats(asset)
    )
    odd = oddities(stats)
    with shown():
        if args.json:
            print(
                json.dumps(
                    {
                        "file": str(file),
                        "file_bytes": size,
                        **stats,
                        "warnings": warnings,
                        "odd": odd,
                        "sound": not odd,
                    }
                )
            )
            return 0
        print(f"{file}, {bytes_text(size)}, {bytes_text(stats['memory_bytes'])} in memory")
        print("\n".join(_splat_lines(stats) if isinstance(asset, Splats) else _mesh_lines(stats)))
        for line in warnings:
            print(f"warning: {line}")
        print(f"verdict  {'; '.join(odd) or 'sound'}")
    return 0


def _splat_lines(stats: dict) -> list[str]:
    return [
        f"splats   {stats['count']}, SH degree {stats['sh_degree']}",
        *_place_lines(stats),
        "opacity",
        *_bars(stats["opacities"], ".1f"),
        "longest axis",
        *_bars(stats["longest_axes"], ".2g"),
        f"clear    {stats['nearly_clear']:.1%} have an opacity below 0.02",
        f"huge     {stats['huge']:.2%} are longer than a third of the extent",
        f"needles  {stats['needles']:.1%} have a longest axis over 100 times the shortest",
        f"left out {stats['left_out']} rows that hold no splat",
    ]


def _mesh_lines(stats: dict) -> list[str]:
    side = stats["texture"]
    return [
        f"mesh     {stats['vertices']} vertices, {stats['faces']} triangles, {'watertight' if stats['watertight'] else 'not watertight'}",
        f"texture  {f'{side[1]} x {side[0]} pixels' if side else 'none'}",
        *_place_lines(stats),
    ]


def _place_lines(stats: dict) -> list[str]:
    sides = zip("xyz", stats["min"], stats["max"], strict=True)
    return [
        "bounds   " + ", ".join(f"{axis} {low:.3f} to {high:.3f}" for axis, low, high in sides),
        f"center   {', '.join(f'{value:.3f}' for value in stats['center'])}; radius {stats['radius']:.3f} for 99.9 %",
    ]


def _bars(histogram: dict, form: str) -> list[str]:
    edges, most = histogram["edges"], max(histogram["counts"])
    return [
        f"  {low:>8{form}} to {high:<8{form}}{count:>9}  {'#' * -(-BAR * count // most)}".rstrip()
        for low, high, count in zip(edges, edges[1:], histogram["counts"], strict=False)
    ]
