"""INRIA .ply, the splat file that every viewer opens. The only module that uses plyfile.

Columns, float32: x y z nx ny nz f_dc_0..2 f_rest_* opacity scale_0..2 rot_0..3. Scales are
logarithms, opacity is a logit, rot is wxyz, and f_rest holds all higher SH coefficients of red,
then of green, then of blue. Normals are zero; strict readers need the columns.

Coordinate system. The world of gs3d has +Z up and the front towards +X, so the object's own left
is +Y. Viewers have +Y up. They take a .ply to be Y-down and rotate it:
    PlayCanvas, SuperSplat   half a turn about Z   (x, y, z) → (−x, −y,  z)
    Spark, per its docs      half a turn about X   (x, y, z) → ( x, −y, −z)
Both make the file's −Y their up, so up must be −Y in the file. Both are rotations, so neither
mirrors a file that is itself a rotation of the world (determinant +1): text stays readable. The
front direction remains to be chosen. There the two viewers differ by half a turn about the
vertical axis, so no file can face the same way in both. gs3d puts the front at +Z:
    file x = −world y    file y = −world z    file z = world x
PlayCanvas shows this as (world y, world z, world x): up +Y, front +Z, left +X. That is the
coordinate system of glTF, and SuperSplat opens a dropped file with a camera on the +Z side. Spark
shows (−world y, world z, −world x): upright, unmirrored, front −Z. A three.js page that needs the
front towards a camera on +Z rotates the mesh about Z, as PlayCanvas does:
`quaternion.set(0, 0, 1, 0)`.

Files of other programs do not state their coordinate system. They are read as if it were this one,
Y-down with the front +Z, and so appear upright. Files of gs3d state it in a comment, so that
a reader can tell if the choice ever changes.

Spherical harmonics are colors over directions in the file's coordinates, so bands 1 to 3 are
rotated together with the means (gs3d.ops.transforms.sh_rotation).
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
from gs3d.io.ply.header import COMMENT, Header, check_coordinates, check_length, read_header
from gs3d.io.ply.rows import binary_rows, fill, matrix, row_dtype
from gs3d.io.splats.checks import (
    changed_result,
    refusal,
    to_file_coordinates,
    to_world_coordinates,
    unreadable_result,
)
from gs3d.io.splats.compressed_ply import is_compressed, read_compressed
from gs3d.ops.blocks import blocks, holds
from gs3d.ops.transforms import WORLD_TO_PLY

REST_COUNTS = {0: 1, 9: 4, 24: 9, 45: 16}
"""Number of f_rest columns → K, the number of SH coefficients per channel."""
MAX_LOGIT = 15.0
"""Opacity logits are clamped to ±15; sigmoid(15) = 1 − 3e-7. Opacities 0 and 1 have no finite
logit, and no viewer can show the difference."""
POSITION, DC = ["x", "y", "z"], ["f_dc_0", "f_dc_1", "f_dc_2"]
SCALE, ROT = ["scale_0", "scale_1", "scale_2"], ["rot_0", "rot_1", "rot_2", "rot_3"]
REQUIRED = [*POSITION, *DC, "opacity", *SCALE, *ROT]


def columns(count: int) -> list[str]:
    """Column names, in file order, for K = `count` SH coefficients per channel."""
    rest = [f"f_rest_{i}" for i in range(3 * (count - 1))]
    return [*POSITION, "nx", "ny", "nz", *DC, *rest, "opacity", *SCALE, *ROT]


def _pack_rows(splats: Splats, sh_pad: int | None) -> np.ndarray:
    """The rows of the file, a structured array [N] of float32. `splats` in file coordinates."""
    count = splats.sh.shape[1]
    names = columns(count if sh_pad is None else max(count, (sh_pad + 1) ** 2))
    table = np.zeros(len(splats), dtype=[(name, "<f4") for name in names])
    per_channel = sum(name.startswith("f_rest_") for name in names) // 3
    # A padded file has zero columns after each channel: green starts at one third of all
    # f_rest columns, not right after the last coefficient of red.
    rest = [f"f_rest_{channel * per_channel + i}" for channel in range(3) for i in range(count - 1)]
    means, quats, scales, opacities, sh = (part.numpy() for part in vars(splats).values())
    for rows in blocks(len(splats)):
        opacity, block = opacities[rows].astype(np.float64), table[rows]
        fill(block, POSITION, means[rows])
        fill(block, DC, sh[rows, 0])
        fill(block, rest, sh[rows, 1:].swapaxes(1, 2).reshape(len(opacity), -1))
        # The logits of 0 and 1 are infinite before the clip.
        with np.errstate(divide="ignore"):
            block["opacity"] = np.clip(np.log(opacity) - np.log1p(-opacity), -MAX_LOGIT, MAX_LOGIT)
        # float64, because the log of a small scale is large, and its absolute error becomes
        # the relative error of the scale.
        fill(block, SCALE, np.log(scales[rows].astype(np.float64)))
        fill(block, ROT, quats[rows])
    return table


def _look_like_probabilities(logits: np.ndarray) -> bool:
    """Whether opacity logits [N] look like probabilities, as if a sigmoid was applied twice.

    True only if there are at least 100 values, all in [0, 1], that reach both ends of it. Valid
    logits may lie there: opacities at initialization are all one value, say 0.6, and a few splats
    can have any. But many values that fill exactly this range, none clearly transparent and none
    clearly opaque, are the sigmoids of a trained model.
    """
    return len(logits) >= 100 and 0 <= logits.min() < 0.1 and 0.9 < logits.max() <= 1


def _verify(path: Path, temp: Path, table: np.ndarray) -> None:
    """UserError unless the file `temp`, to be renamed to `path`, holds exactly `table`."""
    try:
        header = read_header(temp)
        check_length(temp, header)
    except UserError as error:
        raise unreadable_result(path) from error
    vertex = header.element("vertex")
    same = vertex and vertex.count == len(table) and row_dtype(header, vertex) == table.dtype
    if not (same and holds(temp, header.length, [table])):
        raise changed_result(path, len(table))


def write_ply(path: str | Path, splats: Splats, sh_pad: int | None = None) -> None:
    """Write `splats` (world coordinates) as an INRIA .ply.

    The file is read back and compared before it takes the name `path`. `sh_pad` = 1, 2 or 3 pads
    the SH coefficients with zeros up to that degree, for viewers that read only one layout.
    A file of degree 0 has no f_rest columns. Raises UserError like `save_splats`.
    """
    path = Path(path)
    if sh_pad not in (None, 0, 1, 2, 3):
        raise UserError(
            f"sh_pad: expected a degree from 0 to 3, got {sh_pad!r}. Most strict viewers need 3."
        )
    table = _pack_rows(to_file_coordinates(path, splats, torch.tensor(WORLD_TO_PLY)), sh_pad)
    logits = table["opacity"]
    if _look_like_probabilities(logits):
        raise refusal(
            path,
            f"the opacity logits fill [{logits.min():.3g}, {logits.max():.3g}] "
            "and look like probabilities",
            "Splats take opacities after one sigmoid. Was it applied twice?",
        )

    def write(temp: Path) -> None:
        element = PlyElement.describe(table, "vertex")
        with open(temp, "wb") as stream:
            PlyData([element], byte_order="<", comments=[COMMENT]).write(stream)

    write_atomic(path, write, lambda temp: _verify(path, temp, table))


def _read_rows(path: Path, header: Header) -> Iterable[tuple[slice, np.ndarray]]:
    """The rows of `vertex` in blocks, as structured arrays.

    The file's length must have been checked. OSError passes through.
    """
    if header.format != "ascii":
        return binary_rows(path, header)
    try:
        table = PlyData.read(str(path))["vertex"].data
    except (PlyParseError, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot read {path}: the rows do not match the header ({reason}). "
            "Take another copy of the file."
        ) from error
    return ((rows, table[rows]) for rows in blocks(len(table)))


def _check_columns(path: Path, header: Header) -> int:
    """K, the number of SH coefficients per channel. UserError unless the PLY holds splats."""
    vertex = header.element("vertex")
    present = vertex.properties if vertex else {}
    if missing := [name for name in REQUIRED if name not in present]:
        if header.element("face"):
            raise UserError(
                f"cannot read {path}: expected Gaussian splats, got a mesh. "
                "Meshes are read as .glb: a run writes both."
            )
        raise UserError(
            f"cannot read {path}: expected Gaussian splats, got a PLY of something else: "
            f"missing {', '.join(missing)}. Give a .ply that a splat trainer wrote."
        )
    rest = [name for name in present if name.startswith("f_rest_")]
    if len(rest) not in REST_COUNTS or any(f"f_rest_{i}" not in present for i in range(len(rest))):
        note = " that are not numbered from 0" if len(rest) in REST_COUNTS else ""
        raise UserError(
            f"cannot read {path}: expected 0, 9, 24 or 45 properties f_rest_0, f_rest_1, … "
            f"(SH degree 0 to 3), got {len(rest)}{note}. Export it again with SH degree 0 to 3."
        )
    # Without the element, all of REQUIRED would be missing.
    assert vertex is not None
    if vertex.lists:
        raise UserError(
            f"cannot read {path}: expected one number per property of a vertex, "
            f"got the list {vertex.lists[0][:40]}. Export it without lists."
        )
    if vertex.count == 0:
        raise UserError(
            f"cannot read {path}: expected at least one splat, got 0 vertices. "
            "Give a file that is not empty."
        )
    return REST_COUNTS[len(rest)]


def read_ply(path: str | Path) -> Splats:
    """Read splats in world coordinates, float32 on the CPU, from an INRIA or compressed .ply.

    An INRIA .ply may be ASCII or binary of either byte order; unknown properties are ignored. A
    compressed .ply (compressed_ply.py) often has the same suffix and is detected by its header.
    Rows with NaN, infinity or a zero-length quaternion are left out with a `DroppedRows` warning,
    because files of other programs often have a few among good rows. An infinite opacity logit is
    an opacity of 0 or 1 and is kept. UserError for a damaged file or a PLY of something else.
    """
    path = Path(path)
    try:
        header = read_header(path)
        if is_compressed(header):
            return read_compressed(path)
        count = _check_columns(path, header)
        check_coordinates(path, header)
        check_length(path, header)
        splats, logits = _unpack_rows(path, header, count)
    except OSError as error:
        raise read_error(path, error) from error
    if _look_like_probabilities(logits[np.isfinite(logits)]):
        warnings.warn(
            f"{path}: the opacities look like probabilities, expected logits; "
            "the splats may look washed out",
            stacklevel=2,
        )
    return to_world_coordinates(path, splats, torch.tensor(WORLD_TO_PLY).T)


def _unpack_rows(path: Path, header: Header, count: int) -> tuple[Splats, np.ndarray]:
    """Splats in file coordinates, and their opacity logits, float32 [N].

    `count` is K, the number of SH coefficients per channel.
    """
    vertex = header.element("vertex")
    assert vertex is not None
    n = vertex.count
    rest = [f"f_rest_{i}" for i in range(3 * (count - 1))]
    means, quats, scales, sh = (
        np.empty((n, *shape), np.float32) for shape in ((3,), (4,), (3,), (count, 3))
    )
    logits, opacities = np.empty(n, np.float32), np.empty(n, np.float32)
    # NaN and infinity are removed later, row by row.
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, table in _read_rows(path, header):
            means[rows], quats[rows] = matrix(table, POSITION), matrix(table, ROT)
            log_scales = matrix(table, SCALE).astype(np.float64)
            scales[rows] = np.where(np.isfinite(log_scales), np.exp(log_scales), np.nan)
            logits[rows] = table["opacity"]
            opacities[rows] = 0.5 * (1 + np.tanh(0.5 * table["opacity"].astype(np.float64)))
            sh[rows, 0] = matrix(table, DC)
            sh[rows, 1:] = matrix(table, rest).reshape(len(table), 3, count - 1).swapaxes(1, 2)
    return Splats(*map(torch.from_numpy, (means, quats, scales, opacities, sh))), logits
