""".splat, the streaming format of antimatter15's viewer: no header, rows of 32 bytes, the big splats first.

A row: position x y z and linear scale x y z as six float32, little-endian; red, green, blue, opacity as four bytes of 255ths; the
quaternion w x y z as four bytes q·128 + 128. Rows go by descending volume × opacity, so that what has arrived of a file looks like the
whole. The file has no magic number: what it is, only its name says.

What is lost: harmonics above degree 0, so that the color no longer changes with the view; colors outside [0, 1]; and the rest of what
8 bits cannot hold: 1/510 of a color or an opacity, about half a degree of a rotation. Positions and scales keep float32.

The frame is that of INRIA .ply, Y-down with the front +Z (ply.py), for that is what such files are converted from and viewers do not
turn the two apart: antimatter15's camera has its y down; SuperSplat turns both by half a turn about Z; Babylon.js negates the y of
both on its way into a left-handed world; Spark and three.js leave both as they are, and their pages turn them about X.
"""

from pathlib import Path

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import SH_C0, Splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.splats.checks import from_rows, refusal, turned
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
OTHERS = (
    b"ply\n",
    b"ply\r",
    b"\x1f\x8b\x08\x00",
    b"\x1f\x8b\x08\x08",
    b"NGSP",
    b"glTF",
    b"PK\x03\x04",
)
"""How .ply, .spz, .glb and zipped files begin. A first position with one of these bit patterns is not to be expected."""


def _bytes_of(values: np.ndarray) -> np.ndarray:
    """Values in units of a byte → uint8, to the nearest, clipped to 0 … 255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _table(path: Path, splats: Splats) -> np.ndarray:
    """The rows of the file in their order, a structured array [N] of ROW."""
    flat = Splats(splats.means, splats.quats, splats.scales, splats.opacities, splats.sh[:, :1])
    made = turned(path, flat, torch.tensor(WORLD_TO_PLY))
    order = torch.argsort(
        made.scales.double().prod(1) * made.opacities, descending=True, stable=True
    ).numpy()
    table = np.empty(len(made), ROW)
    table["mean"] = made.means.numpy()[order]
    table["scale"] = made.scales.numpy()[order]
    table["rgb"] = _bytes_of(255 * (0.5 + SH_C0 * made.sh[:, 0].numpy()[order]))
    table["opacity"] = _bytes_of(255 * made.opacities.numpy()[order])
    table["quat"] = _bytes_of(128 * made.quats.numpy()[order] + 128)
    return table


def write_splat(path: str | Path, splats: Splats) -> None:
    """Write `splats` (world frame) as a .splat. What was written is read back before it takes the name `path`; see above what is lost."""
    path = Path(path)
    table = _table(path, splats)

    def verify(temp: Path) -> None:
        if not holds(temp, 0, [table]):
            what = f"the file read back differs from the {len(table)} splats that were written"
            raise refusal(path, what, "Try again; if it stays so, check the disk.")

    write_atomic(path, lambda temp: temp.write_bytes(table.view(np.uint8).data), verify)


def _rows(path: Path) -> np.ndarray:
    """The rows of the file, a structured array [N] of ROW, N > 0."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise read_error(path, error) from error
    if data.startswith(OTHERS):
        what = (
            f"expected rows of a .splat, got a file of another kind, which begins with {data[:4]!r}"
        )
        raise UserError(f"cannot read {path}: {what}. Give it the suffix it had.")
    if not data:
        raise UserError(
            f"cannot read {path}: expected at least one splat, got an empty file. Give a file that is not empty."
        )
    if len(data) % ROW.itemsize:
        what = f"expected rows of {ROW.itemsize} bytes, got {len(data)} bytes: it was cut short, or it is no .splat"
        raise UserError(f"cannot read {path}: {what}. Take another copy of the file.")
    return np.frombuffer(data, ROW)


def read_splat(path: str | Path) -> Splats:
    """Splats in the world frame, float32 on the CPU, harmonics of degree 0, in the file's order.

    Rows that hold NaN or infinity, a negative scale or a quaternion of no length are left out with a warning that counts them.
    """
    path = Path(path)
    rows = _rows(path)
    scales = np.where(rows["scale"] >= 0, rows["scale"], np.float32(np.nan))
    sh = ((rows["rgb"] / np.float32(255) - 0.5) / np.float32(SH_C0))[:, None]
    quats = (rows["quat"].astype(np.float32) - 128) / 128
    parts = (rows["mean"].copy(), quats, scales, rows["opacity"] / np.float32(255), sh)
    return from_rows(path, Splats(*map(torch.from_numpy, parts)), torch.tensor(WORLD_TO_PLY).T)
