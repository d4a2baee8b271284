"""`gs3d mesh RUN_OR_PLY`: a closed, textured mesh from any splats, or anew from a run that has made a surface."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError
from gs3d.io import MESH, MESH_SUFFIXES, SPLATS, load_splats
from gs3d.io.atomic import check_target

if TYPE_CHECKING:
    from gs3d.representations.meshing.texture import PaintedMesh

REFINED = "refined"
"""Folder in a run's own of the run that refines its mesh."""


@dataclass(frozen=True)
class Args:
    """Fuse what the splats show from all around into one closed surface, thin it out, unwrap it and paint it."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_PLY")]
    """A run's folder, or a splat file. Of a run that has made a mesh, the mesh anew, with other triangles or another texture."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Where to write: .glb has a texture, .obj and .ply a color a vertex. mesh.glb in the folder of a run of splats, or the splat file's
    name with .glb, when not given; a refined mesh stays in the folder that it was made in."""
    faces: int = 20_000
    """Triangles at most, or as few as keep the shape; 100 to 2,000,000."""
    resolution: Annotated[int, tyro.conf.arg(aliases=["--cells"])] = 128
    """Of the grid along the largest extent: more keeps thinner parts, and costs their cube; 16 to 512. For splats that are not
    refined."""
    texture: int = 1024
    """Side of the texture in pixels, 16 to 8192."""
    refine: Annotated[float | None, tyro.conf.arg(metavar="MINUTES")] = None
    """Minutes, files included, in which the run's prior goes on with its prompt on the surface: smoother, and sharper colors. Settings
    are the preset's, whatever the run had. Leaves a run of its own in the run's folder: refined/, then refined-2/ and so on."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d mesh", argv)
    for flag, value, low, high in (
        ("faces", args.faces, 100, 2_000_000),
        ("resolution", args.resolution, 16, 512),
        ("texture", args.texture, 16, 8192),
    ):
        if not low <= value <= high:
            raise UserError(f"--{flag}: expected {low} to {high}, got {value}")
    if args.refine is not None and not 0 < args.refine < math.inf:
        raise UserError(f"--refine: expected minutes above 0, got {args.refine:g}")
    if not args.source.exists():
        raise UserError(
            f"{args.source}: there is no such file or folder; expected a run's folder or a splat file"
        )
    file = args.source / SPLATS if args.source.is_dir() else args.source
    out = args.out or _default_out(args, file)
    if out.suffix.lower() not in MESH_SUFFIXES:
        raise UserError(f"-o {out}: expected a name ending in one of {', '.join(MESH_SUFFIXES)}")
    if out.resolve() == file.resolve():
        load_splats(file)  # a mesh is said to be one
        raise UserError(f"{out}: the mesh would take its place; give another name with -o")
    if args.out is not None:
        check_target(out)
    asset, status = _painted(args, file)
    mesh = asset.textured(args.texture) if out.suffix.lower() == ".glb" else asset.colored()
    from gs3d.io.mesh import write_mesh

    write_mesh(out, mesh)
    few = (
        ""
        if len(mesh.faces) <= args.faces
        else f", more than {args.faces}: fewer would not keep the shape"
    )
    say(f"{len(mesh.faces)} triangles{few} -> {out}")
    return status


def _default_out(args: Args, file: Path) -> Path:
    """UserError where that would take the place of something a run has made."""
    if not args.source.is_dir():
        return args.source.with_suffix(".glb")
    if args.refine is not None:
        from gs3d.runs.request import next_folder

        return next_folder(args.source / REFINED) / MESH
    if not file.exists() and (args.source / MESH).exists():
        raise UserError(
            f"{args.source}: is a run that has made a mesh; say with -o where the other one should go"
        )
    return args.source / MESH


def _painted(args: Args, file: Path) -> tuple["PaintedMesh", int]:
    """The surface, however it is come by, and the exit status that goes with it."""
    surface = args.refine is not None or (args.source.is_dir() and not file.exists())
    if surface and args.resolution != Args.resolution:
        raise UserError(
            "--resolution: is of the grid that splats are fused on, and this surface has one of its own; leave it out"
        )
    if args.refine is not None:
        folder, status = _refined(args)
        return _surface(folder, args.faces), status
    if args.source.is_dir() and not file.exists():
        if not (args.source / MESH).exists():
            raise UserError(
                f"{args.source}: is no folder of a finished run; neither {SPLATS} nor {MESH} is in it"
            )
        return _surface(args.source, args.faces), 0
    from gs3d.representations.meshing.fusion import mesh_of_splats

    return mesh_of_splats(load_splats(file), args.faces, args.resolution), 0


def _surface(folder: Path, faces: int) -> "PaintedMesh":
    """What a run of a surface has in its checkpoint."""
    from gs3d.representations.extract_mesh import mesh_of
    from gs3d.runs.history import representation_of

    return mesh_of(representation_of(folder), faces)


def _refined(args: Args) -> tuple[Path, int]:
    """The folder of a run that goes on from the splats of another, and its exit status."""
    from gs3d.cli.progress import Progress
    from gs3d.cli.runs.generate import EXIT
    from gs3d.runs.generate import generate
    from gs3d.runs.history import prior_of, read_record
    from gs3d.runs.request import Request, next_folder

    record = read_record(args.source)
    if record is None or not (args.source / SPLATS).is_file():
        raise UserError(
            f"--refine: expected the folder of a run that has made splats, whose prompt and prior it goes on with; got {args.source}"
        )
    request = Request(
        record["prompt"],
        minutes=args.refine,
        prior=prior_of(record),
        seed=record["seed"],
        out=next_folder(args.source / REFINED),
        mode="mesh",
        start=args.source,
    )
    with Progress() as progress:
        result = generate(
            request, report=progress.update, say=progress.say, from_process_start=True
        )
    for line in result.warnings:
        progress.say(f"warning: {line}")
    if result.asset is None:
        raise UserError(
            f"--refine: nothing is left of the surface after {result.steps} steps; see {result.folder}"
        )
    return result.folder, EXIT[result.outcome]
