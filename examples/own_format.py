"""A splat format of your own: comma-separated text, one row of 14 numbers per splat.

python examples/own_format.py splats.ply splats.csv
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch

import gs3d
from gs3d.io import FORMATS, Format, load_splats, save_splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.splats.checks import changed_result, to_file_coordinates, to_world_coordinates

COLUMNS, WORLD = ("means", "quats", "scales", "opacities", "sh"), torch.eye(3)


def write_csv(path: Path, splats: gs3d.Splats) -> None:
    """Write splats of degree 0 in nine digits, which keep a float32; the rest is dropped."""
    flat = dataclasses.replace(splats, sh=splats.sh[:, :1])
    parts = vars(to_file_coordinates(Path(path), flat, WORLD))
    table = np.hstack([parts[name].numpy().reshape(len(splats), -1) for name in COLUMNS])

    def verify(temp: Path) -> None:
        if not np.array_equal(np.loadtxt(temp, np.float32, delimiter=",", ndmin=2), table):
            raise changed_result(Path(path), len(table))

    write_atomic(path, lambda temp: np.savetxt(temp, table, "%.9g", ","), verify)


def read_csv(path: Path) -> gs3d.Splats:
    try:
        table = np.loadtxt(path, np.float32, delimiter=",", ndmin=2)
    except OSError as error:
        raise read_error(Path(path), error) from error
    except ValueError as error:
        raise gs3d.UserError(f"cannot read {path}: expected rows of numbers, {error}") from None
    if table.shape[1] != 14 or not len(table):
        raise gs3d.UserError(f"cannot read {path}: expected rows of 14 numbers")
    *parts, opacities, sh = np.split(table, np.cumsum([3, 4, 3, 1]), axis=1)
    every = (torch.from_numpy(part.copy()) for part in (*parts, opacities[:, 0], sh[:, None]))
    return to_world_coordinates(Path(path), gs3d.Splats(*every), WORLD)


FORMATS[".csv"] = Format(f"{__name__}:write_csv", f"{__name__}:read_csv", sh_degree=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("out")
    args = parser.parse_args()
    save_splats(args.out, load_splats(args.source))


if __name__ == "__main__":
    main()
