"""A mesh for a game engine: closed, textured, with levels of detail, in meters.

python examples/mesh_to_game_engine.py outputs/a-blue-car-s0 --height-m 1.5

RUN is the folder of a run, or any splat file. Without it, a run is made first.
"""

import argparse
from pathlib import Path

import trimesh

import gs3d
from gs3d.io import load_splats
from gs3d.representations.meshing.fusion import mesh_of_splats

LEVELS = {0: 20_000, 1: 5_000, 2: 1_000}
"""Level of detail -> triangles."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", default=None)
    parser.add_argument("--prompt", default="a blue car")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--height-m", type=float, default=1.0)
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("engine"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.run is None:
        args.run = args.out / "run"
        gs3d.generate(args.prompt, steps=args.steps, prior="builtin", out=args.run)
    file = args.run / "splats.ply" if args.run.is_dir() else args.run
    splats = load_splats(file)

    for level, faces in LEVELS.items():
        # A texture keeps the detail that fewer triangles lose.
        mesh = mesh_of_splats(splats, faces, args.resolution).textured(1024 >> level)
        path = gs3d.Scene(mesh).save(args.out / f"lod-{level}.glb")

        # Engines count in meters. glTF is +Y up, so the height is along Y.
        loaded = trimesh.load(path, force="mesh")
        loaded.apply_scale(args.height_m / loaded.extents[1])
        loaded.apply_translation([0.0, -loaded.bounds[0][1], 0.0])  # it stands on the ground
        loaded.export(path)
        size = " × ".join(f"{side:.2f}" for side in loaded.extents)
        loaded.merge_vertices(merge_tex=True, merge_norm=True)  # the texture's seams split them
        print(f"{path}: {len(loaded.faces)} triangles, {size} m, closed: {loaded.is_watertight}")


if __name__ == "__main__":
    main()
