"""Compressed .ply of PlayCanvas and SuperSplat: 16 bytes a splat, and one byte for each higher coefficient of the harmonics.

`element chunk`, one row for 256 splats, has the least and largest position, log-scale and color of these as float32. `element vertex` has
four uint32, each number a fraction between the bounds of its chunk, highest bits first:
    packed_position, packed_scale   x, y, z in 11, 10, 11 bits
    packed_rotation                 2 bits say which of w, x, y, z is largest; the others follow in 10 bits each, [−√½, √½] → [0, 1023]
    packed_color                    red, green, blue in 8 bits, then the opacity, which is [0, 1] in every chunk
`element sh` is there for degree 1 to 3 only: uchar f_rest_*, channel-major as in an INRIA .ply, [−4, 4] → 256 steps. The frame is that of
ply.py. Splats are written along a Morton curve, so that those of a chunk lie close together and its bounds are narrow.
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
    bad,
    check_frame,
    check_length,
    read_header,
    start_of,
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
from gs3d.io.splats.checks import from_rows, refusal, turned
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
"""Numbers of f_rest columns, of degree 0 to 3."""
REST_RANGE = 4.0
REST_OF_STEP = (
    np.r_[0, np.arange(1.5, 255), 256].astype(np.float32) / 256 - np.float32(0.5)
) * np.float32(2 * REST_RANGE)
"""What each byte stands for: the middle of its step, but for the two at the ends."""


def is_packed(header: Header) -> bool:
    vertex = header.element("vertex")
    return vertex is not None and PACKED[0] in vertex.properties


def _with_opacity(bounds: Bounds) -> Bounds:
    """Bounds of colors [chunks, 3] → of packed_color [chunks, 4]."""
    low, high = (
        np.pad(end, ((0, 0), (0, 1)), constant_values=fill)
        for end, fill in zip(bounds, (0, 1), strict=True)
    )
    return low, high


def _tables(splats: Splats, order: np.ndarray) -> list[np.ndarray]:
    """The file's elements chunk, vertex and sh, which has no columns at degree 0; of splats in its frame, to be written in this `order`."""
    n, k = len(splats), splats.sh.shape[1]
    means, quats, scales, opacities, sh = (part.numpy() for part in vars(splats).values())
    chunks, table, steps = (
        np.empty((-(-n // CHUNK), 18), "<f4"),
        np.empty((n, 4), "<u4"),
        np.empty((n, 3 * (k - 1)), np.uint8),
    )
    for rows in blocks(n):
        some = order[rows]
        values = [means[some], np.log(scales[some]), 0.5 + SH_C0 * sh[some, 0]]
        bounds = [chunk_bounds(value) for value in values]
        chunks[chunks_of(rows)] = np.concatenate([end for pair in bounds for end in pair], axis=1)
        table[rows, 0], table[rows, 2] = (
            pack(values[0], bounds[0], BITS),
            pack(values[1], bounds[1], BITS),
        )
        table[rows, 1] = pack_rotations(quats[some])
        colors = np.concatenate([values[2], opacities[some, None]], axis=1)
        table[rows, 3] = pack(colors, _with_opacity(bounds[2]), COLOR_BITS)
        rest = (sh[some, 1:] * np.float32(128 / REST_RANGE) + np.float32(128)).clip(0, 255)
        steps[rows] = rest.swapaxes(1, 2).reshape(len(some), -1)
    return [chunks, table, steps]


def _bounds(chunks: np.ndarray) -> list[Bounds]:
    """Of positions, log-scales and colors [chunks, 3]."""
    ends = chunks.reshape(len(chunks), 6, 3)
    return [(ends[:, i], ends[:, i + 1]) for i in (0, 2, 4)]


def _unpacked(tables: list[np.ndarray], rows: slice) -> list[np.ndarray]:
    """Means, quaternions, scales, opacities and harmonics of rows that begin with a chunk, float32."""
    chunks, (position, rotation, scale, color), steps = (
        tables[0][chunks_of(rows)],
        tables[1][rows].T,
        tables[2][rows],
    )
    places, log_scales, shades = _bounds(chunks)
    sh = np.empty((len(steps), 1 + steps.shape[1] // 3, 3), np.float32)
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what comes of NaN and infinity is left out by its rows
        colors = unpack(color, _with_opacity(shades), COLOR_BITS)
        sh[:, 0] = (colors[:, :3] - np.float32(0.5)) / np.float32(SH_C0)
        scales, means = np.exp(unpack(scale, log_scales, BITS)), unpack(position, places, BITS)
    sh[:, 1:] = REST_OF_STEP[steps].reshape(len(steps), 3, -1).swapaxes(1, 2)
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
    """Write `splats` (world frame) as a compressed .ply, in another order. What was written is read back and checked.

    Higher coefficients of the harmonics beyond ±4 are clamped, with a warning that counts them.
    """
    path = Path(path)
    made = turned(path, splats, torch.tensor(WORLD_TO_PLY))
    if (
        beyond := sum(
            int((made.sh[rows, 1:].abs() > REST_RANGE).sum()) for rows in blocks(len(made))
        )
    ) > 0:
        warnings.warn(
            f"{path}: {beyond} coefficients of the harmonics lie beyond ±{REST_RANGE:g} and were clamped",
            stacklevel=2,
        )
    order = morton_order(made.means.numpy())
    tables = _tables(made, order)
    header = _header(tables)

    def write(temp: Path) -> None:
        with open(temp, "wb") as stream:
            stream.write(header)
            for table in tables:
                stream.write(table.data)

    def verify(temp: Path) -> None:
        with open(temp, "rb") as stream:
            same = stream.read(len(header)) == header
        if not (same and holds(temp, len(header), tables) and _near(made, order, tables)):
            what = f"the file read back differs from the {len(made)} splats that were written"
            raise refusal(path, what, "Try again; if it stays so, check the disk.")

    write_atomic(path, write, verify)


def _near(splats: Splats, order: np.ndarray, tables: list[np.ndarray]) -> bool:
    """Whether `tables` stand for `splats`, in this `order`, to within a step."""
    parts = [part.numpy() for part in vars(splats).values()]
    for rows in blocks(len(order)):
        means, quats, scales, opacities, sh = (part[order[rows]] for part in parts)
        got = _unpacked(tables, rows)
        # A step is smallest in y, and the larger a number is beside it, the more float32 rounds it.
        steps = [
            (high - low) / 1023 + 1e-6 * np.maximum(np.abs(low), np.abs(high))
            for low, high in _bounds(tables[0][chunks_of(rows)])
        ]
        steps = [np.repeat(step, CHUNK, axis=0)[: len(means)] for step in steps]
        near = [
            np.abs(got[0] - means) <= steps[0],
            np.abs((got[1] * quats).sum(axis=1)) > 0.9999,
            np.abs(np.log(got[2]) - np.log(scales)) <= steps[1] + 1e-5,
            np.abs(got[3] - opacities) <= np.float32(1 / 500),
            np.abs(got[4][:, 0] - sh[:, 0]) * SH_C0 <= 4 * steps[2] + 1e-5,
            np.abs(got[4][:, 1:] - sh[:, 1:].clip(-REST_RANGE, REST_RANGE)) <= np.float32(1 / 30),
        ]
        if not all(part.all() for part in near):
            return False
    return True


def _element(path: Path, header: Header, name: str, wanted: dict[str, str]) -> tuple[Element, int]:
    """An element, and where its rows start. UserError unless it has the columns `wanted`, name → type, in this order and no others."""
    element = header.element(name)
    if element is None:
        raise bad(path, f"expected the element {name} of a compressed PLY, found none")
    start = start_of(path, header, name)
    if list(element.properties.items()) != list(wanted.items()):
        got = ", ".join(element.properties) or "none"
        raise bad(
            path,
            f"expected the properties of a compressed PLY in the element {name}, got {got[:120]}",
        )
    return element, start


def _read_tables(path: Path, header: Header) -> list[np.ndarray]:
    """The elements of the file as `_tables` has them. OSError passes through."""
    if header.format != "binary_little_endian":
        raise bad(path, f"expected a compressed PLY in binary_little_endian, got {header.format}")
    table, sh = header.element("chunk"), header.element("sh")
    count = (
        12 if table and len(table.properties) == 12 else 18
    )  # the first version had no bounds of colors
    chunks, chunks_at = _element(path, header, "chunk", dict.fromkeys(CHUNK_NAMES[:count], "f4"))
    vertex, vertex_at = _element(path, header, "vertex", dict.fromkeys(PACKED, "u4"))
    n, rest = vertex.count, len(sh.properties) if sh else 0
    if n == 0:
        raise UserError(
            f"cannot read {path}: expected at least one splat, got 0 vertices. Give a file that is not empty."
        )
    if chunks.count != -(-n // CHUNK):
        raise bad(path, f"expected {-(-n // CHUNK)} chunks for {n} splats, got {chunks.count}")
    if rest not in REST_COUNTS or (sh and sh.count != n):
        raise bad(path, f"expected {n} rows of 9, 24 or 45 harmonics, got {sh.count} of {rest}")
    sh_at = _element(path, header, "sh", {f"f_rest_{i}": "u1" for i in range(rest)})[1] if sh else 0
    check_length(path, header)
    ends = np.fromfile(path, "<f4", chunks.count * count, offset=chunks_at).reshape(
        chunks.count, count
    )
    if count == 12:
        ends = np.concatenate(
            [ends, np.zeros((len(ends), 3), np.float32), np.ones((len(ends), 3), np.float32)],
            axis=1,
        )
    rows = np.fromfile(path, "<u4", 4 * n, offset=vertex_at).reshape(n, 4)
    return [ends, rows, np.fromfile(path, np.uint8, n * rest, offset=sh_at).reshape(n, rest)]


def read_compressed(path: str | Path) -> Splats:
    """Splats in the world frame, float32 on the CPU. Rows of NaN or infinity are left out with a warning."""
    path = Path(path)
    try:
        header = read_header(path)
        tables = _read_tables(path, header)
    except OSError as error:
        raise read_error(path, error) from error
    check_frame(path, header)
    n, rest = tables[2].shape
    parts = [
        np.empty((n, *shape), np.float32) for shape in ((3,), (4,), (3,), (), (1 + rest // 3, 3))
    ]
    for rows in blocks(n):
        for part, some in zip(parts, _unpacked(tables, rows), strict=True):
            part[rows] = some
    return from_rows(path, Splats(*map(torch.from_numpy, parts)), torch.tensor(WORLD_TO_PLY).T)
