"""`gs3d mesh RUN_OR_PLY`: a closed, textured mesh from any splats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError
from gs3d.export import MESH, MESH_SUFFIXES, SPLATS, load_splats
from gs3d.export.atomic import check_target


@dataclass(frozen=True)
class Args:
    """Fuse what the splats show from all around into one closed surface, thin it out, unwrap it and paint it."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_PLY")]
    """A run's folder, or a splat file."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write: .glb has a texture, .obj and .ply a colour a vertex. mesh.glb in the run's folder, or the splat file's name with
    .glb, when not given."""
    faces: int = 20_000
    """Triangles at most."""
    cells: int = 128
    """Of the grid along the largest extent: more keeps thinner parts, and costs their cube."""
    texture: int = 1024
    """Side of the texture in pixels."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d mesh", argv)
    for flag, value, low, high in (
        ("faces", args.faces, 100, 2_000_000),
        ("cells", args.cells, 16, 512),
        ("texture", args.texture, 16, 8192),
    ):
        if not low <= value <= high:
            raise UserError(f"--{flag}: expected {low} to {high}, got {value}")
    if not args.source.exists():
        raise UserError(f"{args.source}: there is no such file or folder; expected a run's folder or a splat file")
    file = args.source / SPLATS if args.source.is_dir() else args.source
    if args.source.is_dir() and not file.exists() and (args.source / MESH).exists():
        raise UserError(f"{args.source}: is a run that makes a mesh, not splats; {MESH} is in it already")
    out = args.out or (args.source / "mesh.glb" if args.source.is_dir() else args.source.with_suffix(".glb"))
    if out.suffix.lower() not in MESH_SUFFIXES:
        raise UserError(f"-o {out}: expected a name ending in one of {', '.join(MESH_SUFFIXES)}")
    if out.resolve() == file.resolve():
        raise UserError(f"-o {out}: is the splat file itself; give another name")
    check_target(out)
    from gs3d.export.mesh import write_mesh
    from gs3d.representations.mesh import mesh_of_splats

    made = mesh_of_splats(load_splats(file), args.faces, args.cells)
    mesh = made.textured(args.texture) if out.suffix.lower() == ".glb" else made.coloured()
    write_mesh(out, mesh)
    say(f"{len(mesh.faces)} triangles -> {out}")
    return 0
