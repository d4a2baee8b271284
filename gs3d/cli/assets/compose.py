"""`gs3d compose SCENE.yaml`: puts several objects into one scene."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import bytes_text, check_out, saved, splats_file, warn, with_warnings
from gs3d.core.errors import UserError
from gs3d.io import load_splats


@dataclass(frozen=True)
class Args:
    """Put several results or splat files into one scene and write one splat file. SCENE.yaml holds
    `objects:` with a list, of which each has `file:` and, as wanted, `position: [x, y, z]`,
    `size:` (its radius), `turn_deg:`, `stands_on:` (the name of an earlier one) and `name:`."""

    scene: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCENE.yaml")]
    """The scene file. Files in it are found from where it is. docs/scenes.md has an example."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Output file. Its suffix decides the format. Default: that of the scene file with .ply."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d compose", argv)
    from gs3d.compose.scene_file import read_scene
    from gs3d.compose.together import overlaps, together

    entries = read_scene(args.scene)
    out = args.out or args.scene.with_suffix(".ply")
    found, suffix = [], ""
    files = [splats_file(entry.file) for entry in entries]
    for file in files:
        suffix = check_out(out, file)
    for entry, file in zip(entries, files, strict=True):
        splats, warnings = with_warnings(load_splats, file)
        warn(warnings)
        if not len(splats):
            raise UserError(f"{args.scene}: {entry.name}: {file} holds no splats")
        found.append(splats)
    splats, parts = together(entries, found)
    warn(overlaps(parts))
    _, warnings = saved(out, suffix, splats)
    for part in parts:
        say(f"{part.entry.name:<24}{len(part.splats):>9} splats")
    say(f"{len(splats)} splats of {len(parts)} objects -> {out}, {bytes_text(out.stat().st_size)}")
    warn(warnings)
    return 0
