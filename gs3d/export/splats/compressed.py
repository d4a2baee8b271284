"""Compressed .ply of PlayCanvas and SuperSplat: 16 bytes a splat, and one byte for each higher coefficient of the harmonics.

`element chunk`, one row for 256 splats, has the least and largest position, log-scale and colour of these as float32. `element vertex` has
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
from gs3d.core.types import Splats
from gs3d.export.atomic import read_error, write_atomic
from gs3d.export.frames import WORLD_TO_PLY
from gs3d.export.splats.checks import check_splats, from_rows, refusal, turned
from gs3d.export.splats.packing import CHUNK, Bounds, chunk_bounds, morton_order, pack, pack_rotations, unpack, unpack_rotations
from gs3d.export.splats.ply_header import COMMENT, Element, Header, bad, check_frame, check_length, read_header, start_of

POSITION, SCALE, COLOUR = ("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b")
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
CHUNK_NAMES = [f"{end}_{name}" for names in (POSITION, SCALE, COLOUR) for end in ("min", "max") for name in names]
BITS, COLOUR_BITS = (11, 10, 11), (8, 8, 8, 8)
REST_COUNTS = {0: 1, 9: 4, 24: 9, 45: 16}
"""Number of f_rest columns → K, the number of coefficients a channel."""
REST_RANGE = 4.0
SH_C0 = 0.28209479177387814
REST_OF_STEP = (np.r_[0, np.arange(1.5, 255), 256].astype(np.float32) / 256 - np.float32(0.5)) * np.float32(2 * REST_RANGE)
"""What each byte stands for: the middle of its step, but for the two at the ends."""


def is_packed(header: Header) -> bool:
    vertex = header.element("vertex")
    return vertex is not None and PACKED[0] in vertex.properties


def _with_opacity(bounds: Bounds) -> Bounds:
    """Bounds of colours [chunks, 3] → of packed_color [chunks, 4]."""
    low, high = (np.pad(end, ((0, 0), (0, 1)), constant_values=fill) for end, fill in zip(bounds, (0, 1), strict=True))
    return low, high


def _tables(splats: Splats) -> list[np.ndarray]:
    """The file's elements chunk, vertex and, if there are any higher harmonics, sh; of splats in its frame and order."""
    n, k = len(splats), splats.sh.shape[1]
    values = [splats.means.numpy(), np.log(splats.scales.numpy()), 0.5 + SH_C0 * splats.sh[:, 0].numpy()]
    bounds = [chunk_bounds(value) for value in values]
    chunks = np.concatenate([end for pair in bounds for end in pair], axis=1).astype("<f4")
    rows = np.empty((n, 4), "<u4")
    rows[:, 0], rows[:, 2] = pack(values[0], bounds[0], BITS), pack(values[1], bounds[1], BITS)
    rows[:, 1] = pack_rotations(splats.quats.numpy())
    rows[:, 3] = pack(np.concatenate([values[2], splats.opacities[:, None].numpy()], axis=1), _with_opacity(bounds[2]), COLOUR_BITS)
    steps = (splats.sh[:, 1:].numpy() * np.float32(128 / REST_RANGE) + np.float32(128)).clip(0, 255).astype(np.uint8)
    steps = steps.swapaxes(1, 2).reshape(n, 3 * (k - 1))
    return [chunks, rows, steps] if k > 1 else [chunks, rows]


def _header(tables: list[np.ndarray]) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"comment {COMMENT}", f"element chunk {len(tables[0])}"]
    lines += [f"property float {name}" for name in CHUNK_NAMES]
    lines += [f"element vertex {len(tables[1])}", *(f"property uint {name}" for name in PACKED)]
    for table in tables[2:]:
        lines += [f"element sh {len(table)}", *(f"property uchar f_rest_{i}" for i in range(table.shape[1]))]
    return ("\n".join(lines) + "\nend_header\n").encode()


def write_compressed(path: str | Path, splats: Splats) -> None:
    """Write `splats` (world frame) as a compressed .ply, in another order. What was written is read back and checked.

    Higher coefficients of the harmonics beyond ±4 are clamped, with a warning that counts them.
    """
    path = Path(path)
    made = turned(path, splats, torch.tensor(WORLD_TO_PLY))
    made = check_splats(path, Splats(*(part.float().contiguous() for part in vars(made).values())))
    order = torch.from_numpy(morton_order(made.means.numpy()))
    made = Splats(*(part[order] for part in vars(made).values()))
    if (beyond := int((made.sh[:, 1:].abs() > REST_RANGE).sum())) > 0:
        warnings.warn(f"{path}: {beyond} coefficients of the harmonics lie beyond ±{REST_RANGE:g} and were clamped", stacklevel=2)
    tables = _tables(made)

    def write(temp: Path) -> None:
        with open(temp, "wb") as stream:
            stream.write(_header(tables))
            for table in tables:
                stream.write(table.data)

    write_atomic(path, write, lambda temp: _verify(path, temp, made, tables))


def _verify(path: Path, temp: Path, made: Splats, tables: list[np.ndarray]) -> None:
    """UserError unless the file at `temp`, meant for `path`, holds `tables`, and they stand for `made` to within a step."""
    try:
        header = read_header(temp)
        got, bounds = _rows(temp, header)
        same = temp.read_bytes()[header.length :] == b"".join(table.tobytes() for table in tables)
    except UserError as error:
        raise refusal(path, "what was written cannot be read back", "Try again; if it stays so, check the disk.") from error
    # A step is smallest in y, and the larger a number is beside it, the more float32 rounds it.
    steps = [np.repeat((high - low) / 1023 + 1e-6 * np.maximum(np.abs(low), np.abs(high)), CHUNK, 0)[: len(made)] for low, high in bounds]
    limits = [(got.means, made.means, steps[0]), (got.scales.log(), made.scales.log(), steps[1] + 1e-5)]
    limits += [(got.sh[:, 0] * SH_C0, made.sh[:, 0] * SH_C0, 4 * steps[2] + 1e-5), (got.opacities, made.opacities, np.float32(1 / 500))]
    limits += [(got.sh[:, 1:], made.sh[:, 1:].clamp(-REST_RANGE, REST_RANGE), np.float32(1 / 30))]
    near = all(bool((np.abs(a.numpy() - b.numpy()) <= limit).all()) for a, b, limit in limits)
    near &= bool(((got.quats * made.quats).sum(dim=1).abs() > 0.9999).all())
    if not (same and near):
        what = f"the file read back differs from the {len(made)} splats that were written"
        raise refusal(path, what, "Try again; if it stays so, check the disk.")


def _element(path: Path, header: Header, name: str, wanted: dict[str, str]) -> tuple[Element, int]:
    """An element, and where its rows start. UserError unless it has the columns `wanted`, name → type, in this order and no others."""
    element = header.element(name)
    if element is None:
        raise bad(path, f"expected the element {name} of a compressed PLY, found none")
    start = start_of(path, header, name)
    if list(element.properties.items()) != list(wanted.items()):
        got = ", ".join(element.properties) or "none"
        raise bad(path, f"expected the properties of a compressed PLY in the element {name}, got {got[:120]}")
    return element, start


def _rows(path: Path, header: Header) -> tuple[Splats, list[Bounds]]:
    """The splats of the file in its frame, and the bounds [chunks, 3] of positions, log-scales and colours. OSError passes through."""
    if header.format != "binary_little_endian":
        raise bad(path, f"expected a compressed PLY in binary_little_endian, got {header.format}")
    table, sh = header.element("chunk"), header.element("sh")
    count = 12 if table and len(table.properties) == 12 else 18  # the first version had no bounds of colours
    chunks, chunks_at = _element(path, header, "chunk", dict.fromkeys(CHUNK_NAMES[:count], "f4"))
    vertex, vertex_at = _element(path, header, "vertex", dict.fromkeys(PACKED, "u4"))
    n, rest = vertex.count, len(sh.properties) if sh else 0
    if n == 0:
        raise UserError(f"cannot read {path}: expected at least one splat, got 0 vertices. Give a file that is not empty.")
    if chunks.count != -(-n // CHUNK):
        raise bad(path, f"expected {-(-n // CHUNK)} chunks for {n} splats, got {chunks.count}")
    if rest not in REST_COUNTS or (sh and sh.count != n):
        raise bad(path, f"expected {n} rows of 9, 24 or 45 harmonics, got {sh.count} of {rest}")
    check_length(path, header)
    ends = np.fromfile(path, "<f4", chunks.count * count, offset=chunks_at).reshape(chunks.count, count // 3, 3)
    bounds = [(ends[:, i], ends[:, i + 1]) for i in range(0, count // 3, 2)]
    if count == 12:
        bounds.append((np.zeros_like(bounds[0][0]), np.ones_like(bounds[0][1])))
    position, rotation, scale, colour = np.fromfile(path, "<u4", 4 * n, offset=vertex_at).reshape(n, 4).T
    sh = np.zeros((n, REST_COUNTS[rest], 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of NaN and infinity is left out by its rows
        colours = unpack(colour, _with_opacity(bounds[2]), COLOUR_BITS)
        sh[:, 0] = (colours[:, :3] - np.float32(0.5)) / np.float32(SH_C0)
        scales = np.exp(unpack(scale, bounds[1], BITS))
        means = unpack(position, bounds[0], BITS)
    if rest:
        wanted = {f"f_rest_{i}": "u1" for i in range(rest)}
        steps = np.fromfile(path, np.uint8, n * rest, offset=_element(path, header, "sh", wanted)[1])
        sh[:, 1:] = REST_OF_STEP[steps].reshape(n, 3, rest // 3).swapaxes(1, 2)
    parts = (means, unpack_rotations(rotation), scales, np.ascontiguousarray(colours[:, 3]), sh)
    return Splats(*map(torch.from_numpy, parts)), bounds


def read_compressed(path: str | Path) -> Splats:
    """Splats in the world frame, float32 on the CPU. Rows of NaN or infinity are left out with a warning."""
    path = Path(path)
    try:
        header = read_header(path)
        rows, _ = _rows(path, header)
    except OSError as error:
        raise read_error(path, error) from error
    check_frame(path, header)
    return from_rows(path, rows, torch.tensor(WORLD_TO_PLY).T)
