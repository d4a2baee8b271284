"""`gs3d reference PROMPT`: an object that a prompt is true of, from the world that the built-in prior has learnt."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError
from gs3d.io import MESH_SUFFIXES
from gs3d.io.atomic import check_target

SUFFIXES = (*MESH_SUFFIXES, ".png")


@dataclass(frozen=True)
class Args:
    """Make one of the objects that results are graded against: as a mesh with the colors of its parts, or as eight views."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """What it is, in words of gs3d vocab: "a blue chair with yellow legs"."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("reference.glb")
    """Where to write; the suffix decides: .glb, .obj, .ply or .png."""
    number: int = 0
    """Which of all the objects that the prompt is true of; 0 to 23 are those that gs3d evaluate compares with."""
    resolution: Annotated[int, tyro.conf.arg(aliases=["--cells"])] = 128
    """Of the grid that a mesh is made on, along the largest extent that an object may have: 16 to 512."""
    size: int = 256
    """Side of each of the eight pictures in pixels."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d reference", argv)
    suffix = args.out.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"-o {args.out}: expected a name ending in one of {', '.join(SUFFIXES)}")
    for flag, value, low, high in (
        ("resolution", args.resolution, 16, 512),
        ("size", args.size, 16, 2048),
        ("number", args.number, 0, 9999),
    ):
        if not low <= value <= high:
            raise UserError(f"--{flag}: expected {low} to {high}, got {value}")
    check_target(args.out)
    from gs3d.world.prompt_parser import parse_prompt, why_not
    from gs3d.world.sample import reference_objects

    meaning = parse_prompt(args.prompt)
    if meaning is None:
        form = "[SIZE] [MATERIAL] COLOR KIND [with COLOR PATTERN] [and a COLOR PART]"
        raise UserError(
            f"PROMPT: {why_not(args.prompt)}; expected a {form}, in words of gs3d vocab, got {args.prompt!r}"
        )
    parts = reference_objects(meaning, args.number + 1)[-1].parts
    return _picture(args, parts) if suffix == ".png" else _mesh(args, parts)


def _picture(args: Args, parts: np.ndarray) -> int:
    from gs3d.core.cameras import ring
    from gs3d.io.image.png import write_sheet
    from gs3d.world.render import render

    views = ring(8, args.size)
    write_sheet(args.out, render([parts] * len(views), views).over(np.full(3, 0.92)), columns=4)
    say(f"{len(parts)} parts -> {args.out}")
    return 0


def _mesh(args: Args, parts: np.ndarray) -> int:
    from gs3d.io.mesh import write_mesh
    from gs3d.world.mesh import mesh_of, thickness

    thin = int((thickness(parts) < 2 / args.resolution).sum())
    if thin == len(parts):
        raise UserError(
            f"--resolution {args.resolution}: every part is thinner than a cell; use more"
        )
    mesh = mesh_of(parts, args.resolution)
    write_mesh(args.out, mesh)
    if thin:
        enough = int(2 / thickness(parts).min()) + 1
        say(
            f"warning: {thin} of {len(parts)} parts are thinner than a cell and may have holes or be missing; --resolution {enough} has them all"
        )
    say(f"{len(mesh.faces)} triangles -> {args.out}")
    return 0
