"""INRIA .ply, the splat file that every viewer opens. The only module that uses plyfile.

Columns, float32: x y z nx ny nz f_dc_0..2 f_rest_* opacity scale_0..2 rot_0..3. Scales are logarithms, opacity is a logit, rot is wxyz,
and f_rest holds all higher coefficients of red, then of green, then of blue. Normals are zero; strict readers want the columns.

The frame. gs3d's world has +Z up and the front towards +X, so the object's own left is +Y. Viewers have +Y up; they take a .ply to be
Y-down and turn it:
    PlayCanvas, SuperSplat   half a turn about Z   (x, y, z) → (−x, −y,  z)
    Spark, as its docs say   half a turn about X   (x, y, z) → ( x, −y, −z)
Both make the file's −Y their up, so up must be −Y in the file. Both are rotations, so a file that is a rotation of the world (determinant
+1) is mirrored in neither: text reads the right way round. What is left to choose is where the front points, and there the two differ by
half a turn about the vertical, so no file can face the same way in both. We give the front +Z:
    file x = −world y    file y = −world z    file z = world x
PlayCanvas shows this as (world y, world z, world x): up +Y, front +Z, left +X. That is glTF's frame, and SuperSplat, where a user just
drops the file, opens with a camera on the +Z side. Spark shows (−world y, world z, −world x): upright, unmirrored, front −Z. A three.js
page that wants the front towards a camera on +Z turns the mesh about Z, as PlayCanvas does: `quaternion.set(0, 0, 1, 0)`.

Files of others do not name their frame. They are taken to be in this one, Y-down with the front +Z, and so arrive upright. Ours carry a
comment that names it, so that a reader can tell if the choice ever changes.

Spherical harmonics are colors over directions in the file's frame, so bands 1 to 3 are rotated with the means (frames.sh_rotation).
"""

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement, PlyParseError

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.ply.header import COMMENT, Header, check_frame, check_length, read_header
from gs3d.io.ply.rows import binary_rows, dtype_of, fill, matrix
from gs3d.io.splats.checks import from_rows, refusal, turned
from gs3d.io.splats.compressed_ply import is_packed, read_compressed
from gs3d.ops.blocks import blocks, holds
from gs3d.ops.transforms import WORLD_TO_PLY

REST_COUNTS = {0: 1, 9: 4, 24: 9, 45: 16}
"""Number of f_rest columns → K, the number of coefficients a channel."""
MAX_LOGIT = 15.0
"""Opacities beyond sigmoid(±15) = 1 − 3e-7 are written as that: 0 and 1 have no finite logit, and no viewer can show the difference."""
POSITION, DC = ["x", "y", "z"], ["f_dc_0", "f_dc_1", "f_dc_2"]
SCALE, ROT = ["scale_0", "scale_1", "scale_2"], ["rot_0", "rot_1", "rot_2", "rot_3"]
REQUIRED = [*POSITION, *DC, "opacity", *SCALE, *ROT]


def columns(count: int) -> list[str]:
    """Column names, in the file's order, for K = `count` coefficients a channel."""
    rest = [f"f_rest_{i}" for i in range(3 * (count - 1))]
    return [*POSITION, "nx", "ny", "nz", *DC, *rest, "opacity", *SCALE, *ROT]


def _table(splats: Splats, sh_pad: int | None) -> np.ndarray:
    """The rows of the file, a structured array [N] of float32, of splats in its frame."""
    count = splats.sh.shape[1]
    names = columns(count if sh_pad is None else max(count, (sh_pad + 1) ** 2))
    table = np.zeros(len(splats), dtype=[(name, "<f4") for name in names])
    room = sum(name.startswith("f_rest_") for name in names) // 3
    # A padded file leaves columns at zero after each channel: green starts at a third of them all, not where red ended.
    rest = [f"f_rest_{channel * room + i}" for channel in range(3) for i in range(count - 1)]
    means, quats, scales, opacities, sh = (part.numpy() for part in vars(splats).values())
    for rows in blocks(len(splats)):
        opacity, block = opacities[rows].astype(np.float64), table[rows]
        fill(block, POSITION, means[rows])
        fill(block, DC, sh[rows, 0])
        fill(block, rest, sh[rows, 1:].swapaxes(1, 2).reshape(len(opacity), -1))
        with np.errstate(divide="ignore"):  # of 0 and 1
            block["opacity"] = np.clip(np.log(opacity) - np.log1p(-opacity), -MAX_LOGIT, MAX_LOGIT)
        # In float64, as the logarithms of small scales are large, and what they are off by is what a scale is off by.
        fill(block, SCALE, np.log(scales[rows].astype(np.float64)))
        fill(block, ROT, quats[rows])
    return table


def _like_probabilities(logits: np.ndarray) -> bool:
    """Whether opacities [N] look activated twice: as if sigmoids stood where logits should.

    True only if 100 values or more all lie in [0, 1] and reach into both ends of it. Real logits may lie there: at a fresh start all
    opacities are one value, say 0.6, and a few splats can have any. But many that fill just this range, none of them clearly transparent
    and none clearly opaque, are what a sigmoid makes of a trained model.
    """
    return len(logits) >= 100 and 0 <= logits.min() < 0.1 and 0.9 < logits.max() <= 1


def _verify(path: Path, temp: Path, table: np.ndarray) -> None:
    """UserError unless the file at `temp`, meant for `path`, holds exactly `table`."""
    try:
        header = read_header(temp)
        check_length(temp, header)
    except UserError as error:
        raise refusal(
            path,
            "what was written cannot be read back",
            "Try again; if it stays so, check the disk.",
        ) from error
    vertex = header.element("vertex")
    same = vertex.count == len(table) and dtype_of(header, vertex) == table.dtype
    if not (same and holds(temp, header.length, [table])):
        what = f"the file read back differs from the {len(table)} splats that were written"
        raise refusal(path, what, "Try again; if it stays so, check the disk.")


def write_ply(path: str | Path, splats: Splats, sh_pad: int | None = None) -> None:
    """Write `splats` (world frame) as an INRIA .ply. What was written is read back and checked before it takes the name `path`.

    `sh_pad` = 1, 2 or 3 fills the harmonics up to that degree with zeros, for viewers that read only one layout. An SH0 file has no f_rest.
    """
    path = Path(path)
    if sh_pad not in (None, 0, 1, 2, 3):
        raise UserError(
            f"sh_pad: expected a degree from 0 to 3, got {sh_pad!r}. Most strict viewers want 3."
        )
    table = _table(turned(path, splats, torch.tensor(WORLD_TO_PLY)), sh_pad)
    if _like_probabilities(table["opacity"]):
        what = f"the opacity logits fill [{table['opacity'].min():.3g}, {table['opacity'].max():.3g}] and look like probabilities"
        raise refusal(path, what, "Splats take opacities after one sigmoid; was it applied twice?")

    def write(temp: Path) -> None:
        with open(temp, "wb") as stream:
            PlyData(
                [PlyElement.describe(table, "vertex")], byte_order="<", comments=[COMMENT]
            ).write(stream)

    write_atomic(path, write, lambda temp: _verify(path, temp, table))


def _rows(path: Path, header: Header) -> Iterable[tuple[slice, np.ndarray]]:
    """The rows of `vertex`, block by block as structured arrays. The file's length must have been checked. OSError passes through."""
    if header.format != "ascii":
        return binary_rows(path, header)
    try:
        table = PlyData.read(str(path))["vertex"].data
    except (PlyParseError, ValueError, ArithmeticError) as error:
        what = f"the rows are not what the header promises ({' '.join(str(error).split())[:200]})"
        raise UserError(f"cannot read {path}: {what}. Take another copy of the file.") from error
    return ((rows, table[rows]) for rows in blocks(len(table)))


def _check_columns(path: Path, header: Header) -> int:
    """K, the number of coefficients a channel. UserError if this is a PLY of something else."""
    vertex = header.element("vertex")
    present = vertex.properties if vertex else {}
    if missing := [name for name in REQUIRED if name not in present]:
        if header.element("face"):
            raise UserError(
                f"cannot read {path}: expected Gaussian splats, got a mesh. Meshes are read as .glb: a run writes both."
            )
        what = (
            f"expected Gaussian splats, got a PLY of something else: missing {', '.join(missing)}"
        )
        raise UserError(f"cannot read {path}: {what}. Give a .ply that a splat trainer wrote.")
    rest = [name for name in present if name.startswith("f_rest_")]
    if len(rest) not in REST_COUNTS or any(f"f_rest_{i}" not in present for i in range(len(rest))):
        what = f"expected 0, 9, 24 or 45 properties f_rest_0, f_rest_1, … (SH degree 0 to 3), got {len(rest)}"
        if len(rest) in REST_COUNTS:
            what += " that are not numbered from 0"
        raise UserError(f"cannot read {path}: {what}. Export it again with SH degree 0 to 3.")
    if vertex.lists:
        raise UserError(
            f"cannot read {path}: expected one number a vertex, got the list {vertex.lists[0][:40]}. Export it without lists."
        )
    if vertex.count == 0:
        raise UserError(
            f"cannot read {path}: expected at least one splat, got 0 vertices. Give a file that is not empty."
        )
    return REST_COUNTS[len(rest)]


def read_ply(path: str | Path) -> Splats:
    """Splats in the world frame, float32 on the CPU, from an INRIA .ply: ASCII or binary of either byte order, other properties ignored.

    A compressed .ply, which often has the same suffix, is read too (compressed.py).
    Rows that hold NaN or infinity, or a quaternion of no length, are left out with a warning that counts them: foreign files often have a
    few, and the rest is good. An infinite opacity logit is an opacity of 0 or 1 and is kept.
    """
    path = Path(path)
    try:
        header = read_header(path)
        if is_packed(header):
            return read_compressed(path)
        count = _check_columns(path, header)
        check_frame(path, header)
        check_length(path, header)
        splats, logits = _splats(path, header, count)
    except OSError as error:
        raise read_error(path, error) from error
    if _like_probabilities(logits[np.isfinite(logits)]):
        warnings.warn(
            f"{path}: the opacities look like probabilities, expected logits; it may look washed out",
            stacklevel=2,
        )
    return from_rows(path, splats, torch.tensor(WORLD_TO_PLY).T)


def _splats(path: Path, header: Header, count: int) -> tuple[Splats, np.ndarray]:
    """Splats in the file's frame with `count` coefficients a channel, and their opacities as logits, float32 [N]."""
    n = header.element("vertex").count
    rest = [f"f_rest_{i}" for i in range(3 * (count - 1))]
    means, quats, scales, sh = (
        np.empty((n, *shape), np.float32) for shape in ((3,), (4,), (3,), (count, 3))
    )
    logits, opacities = np.empty(n, np.float32), np.empty(n, np.float32)
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what comes of NaN and infinity is left out by its rows
        for rows, table in _rows(path, header):
            means[rows], quats[rows] = matrix(table, POSITION), matrix(table, ROT)
            log_scales = matrix(table, SCALE).astype(np.float64)
            scales[rows] = np.where(np.isfinite(log_scales), np.exp(log_scales), np.nan)
            logits[rows] = table["opacity"]
            opacities[rows] = 0.5 * (1 + np.tanh(0.5 * table["opacity"].astype(np.float64)))
            sh[rows, 0] = matrix(table, DC)
            sh[rows, 1:] = matrix(table, rest).reshape(len(table), 3, count - 1).swapaxes(1, 2)
    return Splats(*map(torch.from_numpy, (means, quats, scales, opacities, sh))), logits
