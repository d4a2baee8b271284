"""`gs3d mesh RUN_OR_PLY`: a closed, textured mesh from splats, or from a run with a surface."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import MESH, MESH_SUFFIXES, SPLATS, TEXTURED_SUFFIXES, load_asset, load_splats
from gs3d.io.atomic import check_target
from gs3d.ops.place import standing

if TYPE_CHECKING:
    from gs3d.representations.dmtet.dmtet import Dmtet
    from gs3d.representations.meshing.texture import PaintedMesh
    from gs3d.representations.nerf.nerf import Nerf

REFINED = "refined"
"""Subfolder of a run for the run that refines its mesh."""


@dataclass(frozen=True)
class Args:
    """Convert splats to a closed, textured mesh: fuse their depth maps into a surface, simplify it,
    unwrap it and texture it."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_PLY")]
    """A run's folder or a splat file. A run with a mesh gets its mesh exported again, with other
    triangle counts or another texture size."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Output file. A .glb has a texture, and so has an .html page, which any browser shows; .obj
    and .ply have vertex colors. Default: mesh.glb in the folder of a run of splats, or the splat
    file's name with .glb. A refined mesh stays in the folder of its run."""
    faces: int = 20_000
    """Largest number of triangles, 100 to 2,000,000. The mesh has more if that few would change
    its shape."""
    resolution: Annotated[int, tyro.conf.arg(aliases=["--cells"])] = 128
    """Grid resolution along the largest extent, 16 to 512. A higher one keeps thinner parts;
    memory and time grow with its cube. Not with --refine."""
    texture: int = 1024
    """Side of the texture in pixels, 16 to 8192."""
    height: Annotated[float | None, tyro.conf.arg(metavar="METERS")] = None
    """Height of the object, which then stands on the ground with the middle of its base at the
    origin, as game engines expect. By default it lies where the splats lie, in a ball of radius 1
    if gs3d made them."""
    refine: Annotated[float | None, tyro.conf.arg(metavar="MINUTES")] = None
    """Minutes, files included, to optimize the surface further with the run's prior and prompt:
    smoother, with sharper colors. Uses the preset's settings. Writes a run of its own to the run's
    folder: refined/, then refined-2/ and so on."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d mesh", argv)
    for flag, value, low, high in (
        ("faces", args.faces, 100, 2_000_000),
        ("resolution", args.resolution, 16, 512),
        ("texture", args.texture, 16, 8192),
    ):
        if not low <= value <= high:
            raise UserError(f"--{flag}: expected {low} to {high}, got {value}")
    if args.height is not None and not 0 < args.height < math.inf:
        raise UserError(f"--height: expected meters above 0, got {args.height:g}")
    if args.height is not None and args.refine is not None and args.out is None:
        raise UserError(
            "--height: with --refine, give a place for the mesh with -o; that of the refined run "
            "stays as it is"
        )
    if args.refine is not None and not 0 < args.refine < math.inf:
        raise UserError(f"--refine: expected minutes above 0, got {args.refine:g}")
    if not args.source.exists():
        raise UserError(
            f"{args.source}: there is no such file or folder; "
            "expected a run's folder or a splat file"
        )
    file = args.source / SPLATS if args.source.is_dir() else args.source
    out = args.out or _default_out(args, file)
    if out.suffix.lower() not in MESH_SUFFIXES:
        raise UserError(f"-o {out}: expected a name ending in one of {', '.join(MESH_SUFFIXES)}")
    if out.resolve() == file.resolve():
        _splats(file)  # raises for a mesh, with its own message
        raise UserError(f"{out}: the mesh would take its place; give another name with -o")
    if args.out is not None:
        check_target(out)
    surface, status = _surface(args, file)
    textured = out.suffix.lower() in TEXTURED_SUFFIXES
    mesh = surface.textured(args.texture) if textured else surface.colored()
    if args.height is not None:
        mesh = standing(mesh, args.height)
    from gs3d.io.mesh import write_mesh

    write_mesh(out, mesh)
    few = f", more than {args.faces}: fewer would not keep the shape"
    few = few if len(mesh.faces) > args.faces else ""
    say(f"{len(mesh.faces)} triangles{few} -> {out}")
    return status


def _default_out(args: Args, file: Path) -> Path:
    """The output file. `UserError` if it would replace a result of a run."""
    if not args.source.is_dir():
        return args.source.with_suffix(".glb")
    if args.refine is not None:
        from gs3d.runs.folders import next_folder

        return next_folder(args.source / REFINED) / MESH
    if not file.exists() and (args.source / MESH).exists():
        raise UserError(
            f"{args.source}: is a run that has made a mesh; give a place for the other one with -o"
        )
    return args.source / MESH


def _surface(args: Args, file: Path) -> tuple["PaintedMesh", int]:
    """The surface to export, and the exit status."""
    from_run = args.refine is not None or (args.source.is_dir() and not file.exists())
    if from_run and args.resolution != Args.resolution:
        raise UserError(
            "--resolution: is of the grid that splats are fused on, and this surface has one of "
            "its own; leave it out"
        )
    if args.refine is not None:
        folder, status = _refined(args)
        return _surface_of_run(folder, args.faces), status
    if from_run:
        if not (args.source / MESH).exists():
            raise UserError(
                f"{args.source}: is no folder of a finished run; "
                f"neither {SPLATS} nor {MESH} is in it"
            )
        return _surface_of_run(args.source, args.faces), 0
    from gs3d.representations.meshing.fusion import mesh_of_splats

    return mesh_of_splats(_splats(file), args.faces, args.resolution), 0


def _splats(file: Path) -> Splats:
    try:
        return load_splats(file)
    except UserError:
        if file.suffix.lower() != ".glb" or isinstance(load_asset(file), Splats):
            raise
        raise UserError(
            f"{file}: is a mesh already, and this makes one from splats; to export it with other "
            "numbers of triangles, give the folder of the run that made it, and -o"
        ) from None


def _surface_of_run(folder: Path, faces: int) -> "PaintedMesh":
    """The surface in the newest checkpoint of a run."""
    from gs3d.representations.extract_mesh import mesh_of
    from gs3d.runs.history import representation_of

    return mesh_of(cast("Nerf | Dmtet", representation_of(folder)), faces)


def _refined(args: Args) -> tuple[Path, int]:
    """The folder of a run that refines the splats of another, and its exit status."""
    from gs3d.cli.progress import Progress
    from gs3d.cli.runs.generate import EXIT, show
    from gs3d.runs.folders import next_folder
    from gs3d.runs.history import loras_of, prior_of, read_record
    from gs3d.runs.request import Request

    record = read_record(args.source)
    if record is None or not (args.source / SPLATS).is_file():
        raise UserError(
            "--refine: expected the folder of a run that has made splats, whose prompt and prior "
            f"it uses; got {args.source}"
        )
    request = Request(
        record["prompt"],
        minutes=args.refine,
        prior=prior_of(record),
        lora=loras_of(record),
        seed=record["seed"],
        out=next_folder(args.source / REFINED),
        mode="mesh",
        start=args.source,
    )
    with Progress() as progress:
        result = show(request, progress)
    if result.asset is None:
        raise UserError(
            f"--refine: nothing is left of the surface after {result.steps} steps; "
            f"see {result.folder}"
        )
    return result.folder, EXIT[result.outcome]
