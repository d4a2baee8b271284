"""`gs3d reference PROMPT`: exports a reference object for a prompt from the procedural world."""

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
    """Export an object that matches the prompt, as a mesh with vertex colors or an image of eight
    views. It comes from the procedural world that the built-in prior was trained on. gs3d evaluate
    compares results with such objects."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """Description in the words that gs3d vocab lists, e.g. "a blue chair with yellow legs"."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("reference.glb")
    """Output file. Its suffix decides the format: .glb, .obj, .ply or .html (a page for browsers)
    for a mesh, .png for an image."""
    number: int = 0
    """Number of the object among all that match the prompt, 0 to 9999. gs3d evaluate compares with
    0 to 23."""
    resolution: Annotated[int, tyro.conf.arg(aliases=["--cells"])] = 128
    """Grid resolution of the mesh along the largest extent of any object, 16 to 512."""
    size: int = 256
    """Side of each view of a .png in pixels, 16 to 2048."""


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
        raise UserError(
            f"PROMPT: {why_not(args.prompt)}; expected a [SIZE] [MATERIAL] COLOR KIND "
            "[with COLOR PATTERN] [and a COLOR PART], in words of gs3d vocab, "
            f"got {args.prompt!r}"
        )
    parts = reference_objects(meaning, args.number + 1)[-1].parts
    return _views(args, parts) if suffix == ".png" else _mesh(args, parts)


def _views(args: Args, parts: np.ndarray) -> int:
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
            f"--resolution {args.resolution}: every part is thinner than a voxel; use more"
        )
    mesh = mesh_of(parts, args.resolution)
    write_mesh(args.out, mesh)
    if thin:
        enough = int(2 / thickness(parts).min()) + 1
        say(
            f"warning: {thin} of {len(parts)} parts are thinner than a voxel and may have holes or "
            f"be missing; --resolution {enough} shows them all"
        )
    say(f"{len(mesh.faces)} triangles -> {args.out}")
    return 0
