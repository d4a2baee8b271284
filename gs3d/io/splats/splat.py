""".splat, the streaming format of antimatter15's viewer: no header, rows of 32 bytes.

A row: position x y z and linear scale x y z as six float32, little-endian; red, green, blue and
opacity as four bytes, value · 255; the quaternion w x y z as four bytes, q · 128 + 128. Rows are
sorted by descending volume × opacity, so that a partly loaded file already resembles the object.
The file has no magic number; only its suffix identifies it.

Lossy: SH coefficients above degree 0 are dropped, so the color no longer depends on the view;
colors are clipped to [0, 1]; 8 bits round colors and opacities by up to 1/510 and rotations by
about half a degree. Positions and scales keep float32.

The coordinate system is that of an INRIA .ply, Y-down with the front +Z (ply.py), because such
files are converted from .ply and viewers do not rotate the two differently: antimatter15's camera
has its y down; SuperSplat rotates both by half a turn about Z; Babylon.js negates the y of both
for its left-handed world; Spark and three.js leave both as they are, and their pages rotate them
about X.
"""

from pathlib import Path

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import SH_C0, Splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.rounding import to_bytes
from gs3d.io.splats.checks import changed_result, to_file_coordinates, to_world_coordinates
from gs3d.io.splats.conventions import scales_of_lengths
from gs3d.ops.blocks import holds
from gs3d.ops.transforms import WORLD_TO_PLY

ROW = np.dtype(
    [
        ("mean", "<f4", 3),
        ("scale", "<f4", 3),
        ("rgb", "u1", 3),
        ("opacity", "u1"),
        ("quat", "u1", 4),
    ]
)
OTHER_FORMATS = (
    b"ply\n",
    b"ply\r",
    b"ply ",
    b"\x1f\x8b\x08\x00",
    b"\x1f\x8b\x08\x08",
    b"NGSP",
    b"glTF",
    b"PK\x03\x04",
)
"""First bytes of .ply, .spz, .glb and zip files. The first position of a .splat is very unlikely to
have one of these bit patterns."""


def _pack_rows(path: Path, splats: Splats) -> np.ndarray:
    """The rows of the file in file order, a structured array [N] of ROW."""
    flat = Splats(splats.means, splats.quats, splats.scales, splats.opacities, splats.sh[:, :1])
    rotated = to_file_coordinates(path, flat, torch.tensor(WORLD_TO_PLY))
    order = torch.argsort(
        rotated.scales.double().prod(1) * rotated.opacities, descending=True, stable=True
    ).numpy()
    table = np.empty(len(rotated), ROW)
    table["mean"] = rotated.means.numpy()[order]
    table["scale"] = rotated.scales.numpy()[order]
    table["rgb"] = to_bytes(255 * (0.5 + SH_C0 * rotated.sh[:, 0].numpy()[order]))
    table["opacity"] = to_bytes(255 * rotated.opacities.numpy()[order])
    table["quat"] = to_bytes(128 * rotated.quats.numpy()[order] + 128)
    return table


def write_splat(path: str | Path, splats: Splats) -> None:
    """Write `splats` (world coordinates) as a .splat, which is lossy (see the module).

    The file is read back and compared before it takes the name `path`. Raises UserError like
    `save_splats`.
    """
    path = Path(path)
    table = _pack_rows(path, splats)

    def verify(temp: Path) -> None:
        if not holds(temp, 0, [table]):
            raise changed_result(path, len(table))

    write_atomic(path, lambda temp: temp.write_bytes(table.view(np.uint8).data), verify)


def _read_rows(path: Path) -> np.ndarray:
    """The rows of the file, a structured array [N] of ROW, N > 0."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise read_error(path, error) from error
    if data.startswith(OTHER_FORMATS):
        raise UserError(
            f"cannot read {path}: expected rows of a .splat, got a file of another format, "
            f"which begins with {data[:4]!r}. Give it the suffix of that format."
        )
    if not data:
        raise UserError(
            f"cannot read {path}: expected at least one splat, got an empty file. "
            "Give a file that is not empty."
        )
    if len(data) % ROW.itemsize:
        raise UserError(
            f"cannot read {path}: expected rows of {ROW.itemsize} bytes, got {len(data)} bytes: "
            "it was cut short, or it is not a .splat. Take another copy of the file."
        )
    return np.frombuffer(data, ROW)


def read_splat(path: str | Path) -> Splats:
    """Read splats of SH degree 0 in world coordinates, float32 on the CPU, in file order.

    Rows with NaN, infinity or a zero-length quaternion are left out with a `DroppedRows` warning.
    For negative scales see `conventions.scales_of_lengths`. UserError for a damaged file or one of
    another format.
    """
    path = Path(path)
    rows = _read_rows(path)
    scales = scales_of_lengths(path, rows["scale"].copy())
    sh = ((rows["rgb"] / np.float32(255) - 0.5) / np.float32(SH_C0))[:, None]
    quats = (rows["quat"].astype(np.float32) - 128) / 128
    parts = (rows["mean"].copy(), quats, scales, rows["opacity"] / np.float32(255), sh)
    splats = Splats(*map(torch.from_numpy, parts))
    return to_world_coordinates(path, splats, torch.tensor(WORLD_TO_PLY).T)
