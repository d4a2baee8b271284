"""A splat format of your own: comma-separated text, one row per splat.

python examples/own_format.py splats.ply splats.csv
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import gs3d
from gs3d.io import FORMATS, Format, load_splats, save_splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.splats.checks import changed_result, to_file_coordinates, to_world_coordinates

COLUMNS = {"means": 3, "quats": 4, "scales": 3, "opacities": 1, "sh": 3}
WORLD = torch.eye(3)
"""The coordinate system of the file is that of gs3d."""


def write_csv(path: Path, splats: gs3d.Splats) -> None:
    """Write the splats with a color of degree 0; higher degrees are dropped."""
    flat = gs3d.Splats(**(vars(splats) | {"sh": splats.sh[:, :1]}))
    parts = vars(to_file_coordinates(Path(path), flat, WORLD))
    table = np.hstack([parts[name].numpy().reshape(len(splats), -1) for name in COLUMNS])

    def verify(temp: Path) -> None:
        if not np.array_equal(np.loadtxt(temp, np.float32, delimiter=",", ndmin=2), table):
            raise changed_result(Path(path), len(table))

    # Nine digits keep a float32 exactly.
    write_atomic(path, lambda temp: np.savetxt(temp, table, "%.9g", ","), verify)


def read_csv(path: Path) -> gs3d.Splats:
    """Read splats of degree 0 in world coordinates."""
    width = sum(COLUMNS.values())
    try:
        table = np.loadtxt(path, np.float32, delimiter=",", ndmin=2)
    except OSError as error:
        raise read_error(Path(path), error) from error
    except ValueError as error:
        raise gs3d.UserError(f"cannot read {path}: expected rows of numbers, {error}") from None
    if table.shape[1] != width or not len(table):
        raise gs3d.UserError(f"cannot read {path}: expected rows of {width} numbers")
    means, quats, scales, opacities, sh = np.split(table, np.cumsum([3, 4, 3, 1]), axis=1)
    parts = (means, quats, scales, opacities[:, 0], sh[:, None])
    splats = gs3d.Splats(*(torch.from_numpy(part.copy()) for part in parts))
    return to_world_coordinates(Path(path), splats, WORLD)


FORMATS[".csv"] = Format(f"{__name__}:write_csv", f"{__name__}:read_csv", sh_degree=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="a splat file in any format")
    parser.add_argument("out", help="a splat file in any format, for instance a .csv")
    args = parser.parse_args()
    save_splats(args.out, load_splats(args.source))
    print(f"{gs3d.load(args.out)} -> {args.out}")


if __name__ == "__main__":
    main()
