"""`gs3d truth PROMPT`: an object that a prompt is true of, from the world that the built-in prior has learnt."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError

PICTURES, MESHES = (".png",), (".glb", ".obj", ".ply")


@dataclass(frozen=True)
class Args:
    """Make one of the objects that results are graded against: as a mesh with the colours of its parts, or as eight views."""

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """What it is, in words of gs3d vocab: "a blue chair with yellow legs"."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("truth.glb")
    """Where to write; the suffix decides: .glb, .obj, .ply or .png."""
    seed: int = 0
    """Another seed is another object that the prompt is true of."""
    cells: int = 128
    """Of the grid that a mesh is made on, along the largest extent that an object may have: 16 to 512."""
    size: int = 256
    """Side of each of the eight pictures in pixels."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d truth", argv)
    suffix = args.out.suffix.lower()
    if suffix not in PICTURES + MESHES:
        raise UserError(f"-o {args.out}: expected a name ending in one of {', '.join(MESHES + PICTURES)}")
    if not 16 <= args.cells <= 512:
        raise UserError(f"--cells: expected 16 to 512, got {args.cells}")
    if not 16 <= args.size <= 2048:
        raise UserError(f"--size: expected 16 to 2048 pixels, got {args.size}")
    if args.seed < 0:
        raise UserError(f"--seed: expected 0 or more, got {args.seed}")
    import numpy as np

    from gs3d.core.rng import derive_seed
    from gs3d.world.sample import realise
    from gs3d.world.understand import understand

    meaning = understand(args.prompt)
    if meaning is None:
        raise UserError(f"PROMPT: expected words as gs3d vocab lists them, such as 'a red chair with white legs', got {args.prompt!r}")
    parts = realise(np.random.default_rng(derive_seed(args.seed, "truth", repr(meaning))), meaning).parts
    if suffix in PICTURES:
        from gs3d.core.cameras import ring
        from gs3d.export.png import write_sheet
        from gs3d.world.render import render

        views = ring(8, args.size)
        write_sheet(args.out, render([parts] * len(views), views).over(np.full(3, 0.92)), columns=4)
        say(f"{len(parts)} parts -> {args.out}")
        return 0
    from gs3d.export.mesh import write_mesh
    from gs3d.world.mesh import mesh_of

    mesh = mesh_of(parts, args.cells)
    write_mesh(args.out, mesh)
    say(f"{len(parts)} parts, {len(mesh.faces)} triangles -> {args.out}")
    return 0
