"""A mesh for a game engine: closed, textured, with levels of detail, in meters.

python examples/mesh_to_game_engine.py outputs/a-blue-car-s0 --height-m 1.5

RUN is the folder of a run of splats or of a mesh, or any splat file. Without it, a run is made.
"""

import argparse
from pathlib import Path

import trimesh

import gs3d
from gs3d.cli.main import main as command

LEVELS = {0: 20_000, 1: 5_000, 2: 1_000}
"""Level of detail -> at most so many triangles."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=None)
    parser.add_argument("--prompt", default="a blue car")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--height-m", type=float, default=1.0)
    parser.add_argument("--resolution", type=int, default=None, help="of a mesh from splats")
    parser.add_argument("--out", type=Path, default=Path("engine"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.run is None:
        args.run = args.out / "run"
        gs3d.generate(args.prompt, steps=args.steps, prior="builtin", mode="mesh", out=args.run)

    for level, faces in LEVELS.items():
        # What `gs3d mesh` does. A texture keeps the detail that fewer triangles lose.
        path = args.out / f"lod-{level}.glb"
        options = ["-o", str(path), "--faces", str(faces), "--texture", str(1024 >> level)]
        options += ["--height", str(args.height_m)]
        options += ["--resolution", str(args.resolution)] if args.resolution else []
        if status := command(["mesh", str(args.run), *options]):
            raise SystemExit(status)

        mesh = trimesh.load(path, force="mesh")
        assert isinstance(mesh, trimesh.Trimesh)
        size = " × ".join(f"{side:.2f}" for side in mesh.extents)
        mesh.merge_vertices(merge_tex=True, merge_norm=True)  # the texture's seams split them
        print(f"{path}: {len(mesh.faces)} triangles, {size} m, closed: {mesh.is_watertight}")


if __name__ == "__main__":
    main()
