"""Compressed .ply of PlayCanvas and SuperSplat: 16 bytes per splat, 1 per higher SH coefficient.

`element chunk` has one row per 256 splats: the minimum and maximum of their positions, log-scales
and colors as float32. `element vertex` has four uint32. Each packed number is a fraction between
the bounds of its chunk, highest bits first:
    packed_position   x, y, z in 11, 10, 11 bits
    packed_scale      x, y, z in 11, 10, 11 bits
    packed_rotation   2 bits: index of the largest of w, x, y, z; then the other three in 10 bits
                      each, [−√½, √½] → [0, 1023]
    packed_color      red, green, blue in 8 bits, then the opacity, bounds [0, 1] in every chunk
`element sh` exists for degree 1 to 3 only: uchar f_rest_*, channel-major as in an INRIA .ply,
[−4, 4] → 256 steps. The coordinate system is that of ply.py. Splats are written in Morton order,
so that the splats of a chunk are close together and its bounds are narrow.
"""

import warnings
from pathlib import Path

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import SH_C0, Splats
from gs3d.io.atomic import read_error, write_atomic
from gs3d.io.ply.header import (
    COMMENT,
    Element,
    Header,
    check_coordinates,
    check_length,
    invalid_ply,
    read_header,
)
from gs3d.io.ply.packing import (
    CHUNK,
    Bounds,
    chunk_bounds,
    chunks_of,
    morton_order,
    pack,
    pack_rotations,
    unpack,
    unpack_rotations,
)
from gs3d.io.ply.rows import read_numbers, row_offset
from gs3d.io.splats.checks import changed_result, to_file_coordinates, to_world_coordinates
from gs3d.ops.blocks import blocks, holds
from gs3d.ops.transforms import WORLD_TO_PLY

POSITION, SCALE, COLOR = ("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b")
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
CHUNK_NAMES = [
    f"{end}_{name}"
    for names in (POSITION, SCALE, COLOR)
    for end in ("min", "max")
    for name in names
]
BITS, COLOR_BITS = (11, 10, 11), (8, 8, 8, 8)
REST_COUNTS = (0, 9, 24, 45)
"""Number of f_rest columns for degree 0 to 3."""
REST_RANGE = 4.0
REST_VALUES = (
    np.r_[0, np.arange(1.5, 255), 256].astype(np.float32) / 256 - np.float32(0.5)
) * np.float32(2 * REST_RANGE)
"""The coefficient of each byte: the middle of its step, except at the two ends."""


def is_compressed(header: Header) -> bool:
    """Whether this is the header of a compressed .ply."""
    vertex = header.element("vertex")
    return vertex is not None and PACKED[0] in vertex.properties


def _with_opacity(bounds: Bounds) -> Bounds:
    """Bounds of colors [chunks, 3] → bounds of packed_color [chunks, 4]."""
    low, high = (
        np.pad(end, ((0, 0), (0, 1)), constant_values=fill)
        for end, fill in zip(bounds, (0, 1), strict=True)
    )
    return low, high


def _pack_tables(splats: Splats, order: np.ndarray) -> list[np.ndarray]:
    """The elements chunk, vertex and sh, with rows in the given `order` [N].

    `splats` are in file coordinates. At degree 0, sh has no columns.
    """
    n, k = len(splats), splats.sh.shape[1]
    means, quats, scales, opacities, sh = (part.numpy() for part in vars(splats).values())
    chunks = np.empty((-(-n // CHUNK), 18), "<f4")
    vertices = np.empty((n, 4), "<u4")
    rest_bytes = np.empty((n, 3 * (k - 1)), np.uint8)
    for rows in blocks(n):
        index = order[rows]
        values = [means[index], np.log(scales[index]), 0.5 + SH_C0 * sh[index, 0]]
        bounds = [chunk_bounds(value) for value in values]
        chunks[chunks_of(rows)] = np.concatenate([end for pair in bounds for end in pair], axis=1)
        vertices[rows, 0] = pack(values[0], bounds[0], BITS)
        vertices[rows, 1] = pack_rotations(quats[index])
        vertices[rows, 2] = pack(values[1], bounds[1], BITS)
        colors = np.concatenate([values[2], opacities[index, None]], axis=1)
        vertices[rows, 3] = pack(colors, _with_opacity(bounds[2]), COLOR_BITS)
        rest = (sh[index, 1:] * np.float32(128 / REST_RANGE) + np.float32(128)).clip(0, 255)
        rest_bytes[rows] = rest.swapaxes(1, 2).reshape(len(index), -1)
    return [chunks, vertices, rest_bytes]


def _bounds(chunks: np.ndarray) -> list[Bounds]:
    """Bounds [chunks, 3] of positions, log-scales and colors."""
    ends = chunks.reshape(len(chunks), 6, 3)
    return [(ends[:, i], ends[:, i + 1]) for i in (0, 2, 4)]


def _unpack_tables(tables: list[np.ndarray], rows: slice) -> list[np.ndarray]:
    """Means, quaternions, scales, opacities and SH coefficients of `rows`, float32.

    `rows` must start at the first row of a chunk.
    """
    chunks, rest_bytes = tables[0][chunks_of(rows)], tables[2][rows]
    position, rotation, scale, color = tables[1][rows].T
    position_bounds, scale_bounds, color_bounds = _bounds(chunks)
    sh = np.empty((len(rest_bytes), 1 + rest_bytes.shape[1] // 3, 3), np.float32)
    # NaN and infinity are removed later, row by row.
    with np.errstate(over="ignore", invalid="ignore"):
        colors = unpack(color, _with_opacity(color_bounds), COLOR_BITS)
        sh[:, 0] = (colors[:, :3] - np.float32(0.5)) / np.float32(SH_C0)
        scales = np.exp(unpack(scale, scale_bounds, BITS))
        means = unpack(position, position_bounds, BITS)
    sh[:, 1:] = REST_VALUES[rest_bytes].reshape(len(rest_bytes), 3, -1).swapaxes(1, 2)
    return [means, unpack_rotations(rotation), scales, colors[:, 3], sh]


def _header(tables: list[np.ndarray]) -> bytes:
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {COMMENT}",
        f"element chunk {len(tables[0])}",
    ]
    lines += [f"property float {name}" for name in CHUNK_NAMES]
    lines += [f"element vertex {len(tables[1])}", *(f"property uint {name}" for name in PACKED)]
    if rest := tables[2].shape[1]:
        lines += [
            f"element sh {len(tables[2])}",
            *(f"property uchar f_rest_{i}" for i in range(rest)),
        ]
    return ("\n".join(lines) + "\nend_header\n").encode()


def write_compressed(path: str | Path, splats: Splats) -> None:
    """Write `splats` (world coordinates) as a compressed .ply, in Morton order.

    The file is read back and compared before it takes the name `path`. Higher SH coefficients
    beyond ±4 are clamped, with a warning that counts them. Raises UserError like `save_splats`.
    """
    path = Path(path)
    rotated = to_file_coordinates(path, splats, torch.tensor(WORLD_TO_PLY))
    clamped = sum(
        int((rotated.sh[rows, 1:].abs() > REST_RANGE).sum()) for rows in blocks(len(rotated))
    )
    if clamped > 0:
        warnings.warn(
            f"{path}: {clamped} SH coefficients lie beyond ±{REST_RANGE:g} and were clamped",
            stacklevel=2,
        )
    order = morton_order(rotated.means.numpy())
    tables = _pack_tables(rotated, order)
    header = _header(tables)

    def write(temp: Path) -> None:
        with open(temp, "wb") as stream:
            stream.write(header)
            for table in tables:
                stream.write(table.data)

    def verify(temp: Path) -> None:
        with open(temp, "rb") as stream:
            same = stream.read(len(header)) == header
        if not (same and holds(temp, len(header), tables) and _matches(rotated, order, tables)):
            raise changed_result(path, len(rotated))

    write_atomic(path, write, verify)


def _matches(splats: Splats, order: np.ndarray, tables: list[np.ndarray]) -> bool:
    """Whether `tables` represent `splats`, in this `order`, to within one quantization step."""
    parts = [part.numpy() for part in vars(splats).values()]
    for rows in blocks(len(order)):
        means, quats, scales, opacities, sh = (part[order[rows]] for part in parts)
        got = _unpack_tables(tables, rows)
        # The largest step of a position or log-scale is that of y, 10 bits; colors have 8 bits,
        # hence 4 steps below. The 1e-6 term covers float32 rounding, which grows with the bounds.
        steps = [
            (high - low) / 1023 + 1e-6 * np.maximum(np.abs(low), np.abs(high))
            for low, high in _bounds(tables[0][chunks_of(rows)])
        ]
        steps = [np.repeat(step, CHUNK, axis=0)[: len(means)] for step in steps]
        close = [
            np.abs(got[0] - means) <= steps[0],
            np.abs((got[1] * quats).sum(axis=1)) > 0.9999,
            np.abs(np.log(got[2]) - np.log(scales)) <= steps[1] + 1e-5,
            np.abs(got[3] - opacities) <= np.float32(1 / 500),
            np.abs(got[4][:, 0] - sh[:, 0]) * SH_C0 <= 4 * steps[2] + 1e-5,
            np.abs(got[4][:, 1:] - sh[:, 1:].clip(-REST_RANGE, REST_RANGE)) <= np.float32(1 / 30),
        ]
        if not all(part.all() for part in close):
            return False
    return True


def _find_element(
    path: Path, header: Header, name: str, columns: dict[str, str]
) -> tuple[Element, int]:
    """The element `name` and the file offset of its rows.

    UserError unless it has exactly `columns`, name → type, in this order.
    """
    element = header.element(name)
    if element is None:
        raise invalid_ply(path, f"expected the element {name} of a compressed PLY, found none")
    if element.lists:
        raise invalid_ply(
            path, f"expected one number per property, got the list {next(iter(element.lists))[:40]}"
        )
    if list(element.properties.items()) != list(columns.items()):
        got = ", ".join(element.properties) or "none"
        raise invalid_ply(
            path,
            f"expected the properties of a compressed PLY in the element {name}, got {got[:120]}",
        )
    return element, row_offset(path, header, name)


def _read_tables(path: Path, header: Header) -> list[np.ndarray]:
    """The elements of the file, as from `_pack_tables`. OSError passes through."""
    if header.format != "binary_little_endian":
        raise invalid_ply(
            path, f"expected a compressed PLY in binary_little_endian, got {header.format}"
        )
    chunk, sh = header.element("chunk"), header.element("sh")
    # The first version of the format has no bounds of colors.
    width = 12 if chunk and len(chunk.properties) == 12 else 18
    chunks, chunks_at = _find_element(
        path, header, "chunk", dict.fromkeys(CHUNK_NAMES[:width], "f4")
    )
    vertex, vertex_at = _find_element(path, header, "vertex", dict.fromkeys(PACKED, "u4"))
    n, rest = vertex.count, len(sh.properties) if sh else 0
    if n == 0:
        raise UserError(
            f"cannot read {path}: expected at least one splat, got 0 vertices. "
            "Give a file that is not empty."
        )
    if chunks.count != -(-n // CHUNK):
        raise invalid_ply(
            path, f"expected {-(-n // CHUNK)} chunks for {n} splats, got {chunks.count}"
        )
    if sh and (rest not in REST_COUNTS or sh.count != n):
        raise invalid_ply(
            path, f"expected {n} rows of 9, 24 or 45 SH coefficients, got {sh.count} of {rest}"
        )
    sh_columns = {f"f_rest_{i}": "u1" for i in range(rest)}
    sh_at = _find_element(path, header, "sh", sh_columns)[1] if sh else 0
    check_length(path, header)
    with open(path, "rb") as stream:
        ends = read_numbers(path, stream, "<f4", chunks.count * width, chunks_at)
        vertices = read_numbers(path, stream, "<u4", 4 * n, vertex_at).reshape(n, 4)
        sh_bytes = read_numbers(path, stream, np.uint8, n * rest, sh_at).reshape(n, rest)
    ends = ends.reshape(chunks.count, width)
    if width == 12:
        zeros, ones = np.zeros((len(ends), 3), np.float32), np.ones((len(ends), 3), np.float32)
        ends = np.concatenate([ends, zeros, ones], axis=1)
    return [ends, vertices, sh_bytes]


def read_compressed(path: str | Path) -> Splats:
    """Read splats in world coordinates, float32 on the CPU.

    Rows with NaN or infinity are left out with a `DroppedRows` warning. UserError for a damaged
    file.
    """
    path = Path(path)
    try:
        header = read_header(path)
        tables = _read_tables(path, header)
    except OSError as error:
        raise read_error(path, error) from error
    check_coordinates(path, header)
    n, rest = tables[2].shape
    parts = [
        np.empty((n, *shape), np.float32) for shape in ((3,), (4,), (3,), (), (1 + rest // 3, 3))
    ]
    for rows in blocks(n):
        for part, values in zip(parts, _unpack_tables(tables, rows), strict=True):
            part[rows] = values
    splats = Splats(*map(torch.from_numpy, parts))
    return to_world_coordinates(path, splats, torch.tensor(WORLD_TO_PLY).T)
