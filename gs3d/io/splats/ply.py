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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.ply.header import (
    COMMENT,
    Header,
    check_coordinates,
    check_length,
    is_own,
    read_header,
    vertical_axis,
)
from gs3d.io.ply.rows import binary_rows, fill, matrix, row_dtype, text_rows
from gs3d.io.splats.checks import (
    changed_result,
    to_file_coordinates,
    to_world_coordinates,
    unreadable_result,
    warn_of_degree_4,
)
from gs3d.io.splats.compressed_ply import is_compressed, read_compressed
from gs3d.io.splats.conventions import (
    opacities_of_logits,
    rounded_positions,
    scales_of_logs,
    with_filter,
)
from gs3d.ops.blocks import blocks, holds
from gs3d.ops.transforms import WORLD_TO_PLY

REST_COUNTS = {0: 1, 9: 4, 24: 9, 45: 16, 72: 25}
"""Number of f_rest columns → K, the number of SH coefficients per channel."""
MOST_READ = 16
"""Coefficients per channel that are read. Degree 4 has more."""
MAX_LOGIT = 15.0
"""Opacity logits are clamped to ±15; sigmoid(15) = 1 − 3e-7. Opacities 0 and 1 have no finite
logit, and no viewer can show the difference."""
POSITION, DC = ["x", "y", "z"], ["f_dc_0", "f_dc_1", "f_dc_2"]
FLAT_AXIS = "scale_2"
"""Splats of 2D Gaussian Splatting lack it."""
OBJECT = "object"
"""Number of the object of a scene that a splat belongs to."""
Parts = Sequence[tuple[str, int]]
NORMAL, FILTER = ["nx", "ny", "nz"], "filter_3D"
SCALE, ROT = ["scale_0", "scale_1", "scale_2"], ["rot_0", "rot_1", "rot_2", "rot_3"]
REQUIRED = [*POSITION, *DC, "opacity", *SCALE, *ROT]


def columns(count: int) -> list[str]:
    """Column names, in file order, for K = `count` SH coefficients per channel."""
    rest = [f"f_rest_{i}" for i in range(3 * (count - 1))]
    return [*POSITION, *NORMAL, *DC, *rest, "opacity", *SCALE, *ROT]


def _pack_rows(splats: Splats, sh_pad: int | None, parts: Sequence[int] = ()) -> np.ndarray:
    """The rows of the file, a structured array [N] of float32, and the number of the object of each
    if `parts` says how many splats each has. `splats` in file coordinates."""
    count = splats.sh.shape[1]
    names = columns(count if sh_pad is None else max(count, (sh_pad + 1) ** 2))
    objects = [(OBJECT, "<u2")] if parts else []
    table = np.zeros(len(splats), dtype=[*((name, "<f4") for name in names), *objects])
    if parts:
        table[OBJECT] = np.repeat(np.arange(len(parts)), parts)
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


def write_ply(
    path: str | Path, splats: Splats, sh_pad: int | None = None, parts: Parts = ()
) -> None:
    """Write `splats` (world coordinates) as an INRIA .ply.

    The file is read back and compared before it takes the name `path`. `sh_pad` = 1, 2 or 3 pads
    the SH coefficients with zeros up to that degree, for viewers that read only one layout.
    A file of degree 0 has no f_rest columns. `parts` are names, each with a number of splats, in
    their order: a column `object` and a comment for each. Raises UserError like `save_splats`.
    """
    path = Path(path)
    if sh_pad not in (None, 0, 1, 2, 3):
        raise UserError(
            f"sh_pad: expected a degree from 0 to 3, got {sh_pad!r}. Most strict viewers need 3."
        )
    own = to_file_coordinates(path, splats, torch.tensor(WORLD_TO_PLY))
    table = _pack_rows(own, sh_pad, [count for _, count in parts])
    names = [ascii(" ".join(name.split()))[1:-1] for name, _ in parts]
    comments = [COMMENT, *(f"{OBJECT} {i} {name}" for i, name in enumerate(names))]

    def write(temp: Path) -> None:
        element = PlyElement.describe(table, "vertex")
        with open(temp, "wb") as stream:
            PlyData([element], byte_order="<", comments=comments).write(stream)

    write_atomic(path, write, lambda temp: _verify(path, temp, table))


def _check_columns(path: Path, header: Header) -> int:
    """K, the number of SH coefficients per channel. UserError unless the PLY holds splats."""
    vertex = header.element("vertex")
    present = vertex.properties if vertex else {}
    if missing := [name for name in REQUIRED if name not in present and name != FLAT_AXIS]:
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
            f"cannot read {path}: expected 0, 9, 24, 45 or 72 properties f_rest_0, f_rest_1, … "
            f"(SH degree 0 to 4), got {len(rest)}{note}. Export it again with SH degree 0 to 3."
        )
    # Without the element, all of REQUIRED would be missing.
    assert vertex is not None
    if vertex.lists:
        raise UserError(
            f"cannot read {path}: expected one number per property of a vertex, "
            f"got the list {next(iter(vertex.lists))[:40]}. Export it without lists."
        )
    if vertex.count == 0:
        raise UserError(
            f"cannot read {path}: expected at least one splat, got 0 vertices. "
            "Give a file that is not empty."
        )
    _warn_of_others(path, header)
    return REST_COUNTS[len(rest)]


def _warn_of_others(path: Path, header: Header) -> None:
    """Name the columns and elements that are not read."""
    vertex = header.element("vertex")
    assert vertex is not None
    known = {*columns(max(REST_COUNTS.values())), FILTER, OBJECT}
    others = [name for name in vertex.properties if name not in known]
    others += [e.name for e in header.elements if e is not vertex and e.count]
    if others:
        names = ", ".join(name[:40] for name in others[:4])
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        warnings.warn(f"{path}: left out, as no part of splats: {names}{more}", stacklevel=4)


def read_ply(path: str | Path, exact: bool = False) -> Splats:
    """Read splats in world coordinates, float32 on the CPU, from an INRIA or compressed .ply.

    An INRIA .ply may be ASCII or binary of either byte order. Unknown properties and coefficients
    of degree 4 are left out, each with a warning. filter_3D (Mip-Splatting) is applied. A
    compressed .ply (compressed_ply.py) often has the same suffix and is detected by its header.
    Rows with NaN, infinity or a zero-length quaternion are left out with a `DroppedRows` warning,
    because files of other programs often have a few among good rows. An infinite opacity logit is
    an opacity of 0 or 1 and is kept; so is a log-scale of −∞, a scale of 0.

    Splats without scale_2 are flat (2D Gaussian Splatting): their third axis is 0. A comment
    "Vertical Axis: z" (nerfstudio) is followed. For values in another form than usual see
    `conventions`. Positions in double precision become float32, with a warning if that loses
    something; with `exact` they stay float64 then. UserError for a damaged file or a PLY of
    something else.
    """
    path = Path(path)
    try:
        header = read_header(path)
        if is_compressed(header):
            return read_compressed(path)
        count = _check_columns(path, header)
        check_coordinates(path, header)
        check_length(path, header)
        splats = _unpack_rows(path, header, count)
    except OSError as error:
        raise read_error(path, error) from error
    if (lost := rounded_positions(path, splats.means.numpy())) and not exact:
        warnings.warn(lost, stacklevel=2)
    if not (lost and exact):
        splats = replace(splats, means=splats.means.float())
    return to_world_coordinates(path, splats, _to_world(path, header))


def _to_world(path: Path, header: Header) -> torch.Tensor:
    """Rotation [3, 3] from the coordinates of the file to those of the world."""
    up = None if is_own(header) else vertical_axis(header)
    if up is None:
        return torch.tensor(WORLD_TO_PLY).T
    axis, sign = up
    warnings.warn(
        f"{path}: its header names {'-' if sign < 0 else '+'}{'XYZ'[axis]} as up; read that way",
        stacklevel=3,
    )
    # A cyclic permutation of the axes brings the named one to Z. Half a turn about X inverts it.
    rotation = torch.eye(3).roll(2 - axis, dims=0)
    return torch.diag(torch.tensor([1.0, sign, sign])) @ rotation


def _unpack_rows(path: Path, header: Header, count: int) -> Splats:
    """Splats in file coordinates; means float64 if the file has them so.

    `count` is K, the number of SH coefficients per channel of the file.
    """
    vertex = header.element("vertex")
    assert vertex is not None
    n = vertex.count
    kept = min(count, MOST_READ)
    if kept < count:
        warn_of_degree_4(path)
    rest = [f"f_rest_{channel * (count - 1) + i}" for channel in range(3) for i in range(kept - 1)]
    double = any(vertex.properties[name] == "f8" for name in POSITION)
    quats, logs, sh = (np.empty((n, *shape), np.float32) for shape in ((4,), (3,), (kept, 3)))
    means, logits = np.empty((n, 3), np.float64 if double else np.float32), np.empty(n, np.float32)
    widths = np.zeros(n, np.float32) if FILTER in vertex.properties else None
    flat = FLAT_AXIS not in vertex.properties
    if flat:
        warnings.warn(f"{path}: flat splats, without {FLAT_AXIS}; it is taken as 0", stacklevel=3)
        logs = logs[:, :2]
    read = text_rows if header.format == "ascii" else binary_rows
    # NaN and infinity are removed later, row by row.
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, table in read(path, header):
            means[rows], quats[rows] = matrix(table, POSITION, means.dtype), matrix(table, ROT)
            logs[rows] = matrix(table, SCALE[: logs.shape[1]])
            logits[rows] = table["opacity"]
            sh[rows, 0] = matrix(table, DC)
            sh[rows, 1:] = matrix(table, rest).reshape(len(table), 3, kept - 1).swapaxes(1, 2)
            if widths is not None:
                widths[rows] = table[FILTER]
    own = is_own(header)
    scales = scales_of_logs(path, logs, means, own)
    opacities = opacities_of_logits(path, logits, own)
    if widths is not None:
        scales, opacities = with_filter(path, scales, opacities, widths)
    if flat:
        scales = np.pad(scales, ((0, 0), (0, 1)))
    return Splats(*map(torch.from_numpy, (means, quats, scales, opacities, sh)))
