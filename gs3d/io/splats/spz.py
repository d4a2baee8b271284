""".spz, Niantic's compressed splats: about a tenth of a .ply. Reads versions 1 to 4, writes 2 to 4.

gs3d.io.spz.container describes the layout of the file, gs3d.io.spz.streams the rounding of each
number. Version 3 is the default because most viewers read it: Spark 2.1 and Babylon.js support
nothing newer, and SuperSplat reads 2 to 4.

The coordinate system is the format's own, RUB (x right, y up, z back, from the viewer's side),
which is that of glTF with the front +Z and of gs3d's meshes: file x = world y, file y = world z,
file z = world x. Babylon.js and the reference library assume RUB. three.js and Spark show such
a file upright if the page does not rotate it. But the reference's own converter copies the rows of
a Y-down .ply unchanged, many files are so, and SuperSplat since May 2026 rotates each file by half
a turn about Z: there a file of gs3d appears upside down until it is rotated by hand. A file does
not state its axes, and is read as RUB.
"""

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import ClippedValues
from gs3d.io.atomic import write_atomic
from gs3d.io.splats.checks import (
    changed_result,
    refusal,
    to_file_coordinates,
    to_world_coordinates,
    unreadable_result,
    warn_of_antialiasing,
    warn_of_degree_4,
)
from gs3d.io.spz.container import (
    ANTIALIASED_FLAG,
    Header,
    encode,
    has_other_axes,
    read_streams,
)
from gs3d.io.spz.streams import (
    COLOR_LIMIT,
    MAX_FRACTIONAL_BITS,
    POSITION_LIMIT,
    SCALE_RANGE,
    STEP,
    fractional_bits,
    pack,
    unpack,
)
from gs3d.ops.blocks import blocks
from gs3d.ops.stats import VISIBLE

WORLD_TO_SPZ = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
"""Rows are the axes of the file in world coordinates."""


def _pack_splats(path: Path, splats: Splats, version: int) -> tuple[Header, list[np.ndarray]]:
    """The header and the six streams of a new file."""
    rotated = to_file_coordinates(path, splats, torch.tensor(WORLD_TO_SPZ), SCALE_RANGE[0])
    extent = float(rotated.means.abs().max())
    if (bits := fractional_bits(extent)) < 0:
        raise refusal(
            path,
            f"expected coordinates within ±{POSITION_LIMIT}, got one of {extent:.4g}",
            "`gs3d clean --floaters` removes stray ones, `gs3d clean --center --radius 1` shrinks "
            "all.",
        )
    _warn_of_rounding(path, rotated, bits)
    _warn_of_clipping(path, rotated)
    degree = round(splats.sh.shape[1] ** 0.5) - 1
    header = Header(version, len(splats), degree, bits, flags=0, streams=0)
    return header, pack(rotated, bits, version)


def _warn_of_rounding(path: Path, splats: Splats, bits: int) -> None:
    """Say so if far splats cost the others bits of their positions, and it can be seen."""
    least = max(1.5 / 2**MAX_FRACTIONAL_BITS, VISIBLE * float(splats.scales.median()))
    if 0.5 / 2**bits <= least:
        return
    errors = np.concatenate(
        [_rounding(splats.means[rows].double().numpy(), bits) for rows in blocks(len(splats))]
    )
    if count := int((errors > least).sum()):
        text = f"a position that is rounded by up to {errors.max():.2g}; gs3d clean --floaters "
        text += "or --center before may help"
        warnings.warn(ClippedValues(path, "positions", count, len(splats), text), stacklevel=4)


def _rounding(means: np.ndarray, bits: int) -> np.ndarray:
    """Largest error [N] of the coordinates of `means` [N, 3] with this many fractional bits."""
    return np.abs(means - np.rint(means * 2.0**bits) / 2.0**bits).max(axis=1)


def _warn_of_clipping(path: Path, splats: Splats) -> None:
    """Say which values are beyond the range of a byte (`streams.pack`)."""
    most = SCALE_RANGE[1]
    for what, outside, text in (
        ("scales", splats.scales > most * (1 + STEP), f"an axis above {most:.3g}"),
        ("colors", splats.sh[:, 0].abs() > COLOR_LIMIT, f"a color beyond ±{COLOR_LIMIT:.3g}"),
        ("harmonics", splats.sh[:, 1:].abs().flatten(1) > 1, "a harmonic beyond ±1"),
    ):
        if count := int(outside.any(dim=1).sum()):
            text += ", which is written as that"
            warnings.warn(ClippedValues(path, what, count, len(splats), text), stacklevel=4)


def encode_spz(path: Path, splats: Splats) -> bytes:
    """The bytes of an .spz, version 3, to embed in another file at `path` (for messages)."""
    return encode(path, *_pack_splats(path, splats, 3))


def write_spz(path: str | Path, splats: Splats, version: Literal[2, 3, 4] = 3) -> None:
    """Write `splats` (world coordinates) as an .spz, rounded as in gs3d.io.spz.streams.

    The file is read back and compared before it takes the name `path`. Version 2 is for old
    viewers; its rotations may be off by degrees. Version 4 is for the newest viewers. Raises
    UserError like `save_splats`, and for coordinates beyond ±POSITION_LIMIT.
    """
    path = Path(path)
    if version not in (2, 3, 4):
        raise UserError(
            f"version: expected 2, 3 or 4 of .spz, got {version!r}. Most viewers read 3."
        )
    header, streams = _pack_splats(path, splats, version)
    data = encode(path, header, streams)

    def verify(temp: Path) -> None:
        try:
            got = read_streams(temp)[1]
        except UserError as error:
            raise unreadable_result(path) from error
        if not all(map(np.array_equal, got, streams)):
            raise changed_result(path, len(splats))

    write_atomic(path, lambda temp: temp.write_bytes(data), verify)


def read_spz(path: str | Path) -> Splats:
    """Read splats in world coordinates, float32 on the CPU, from an .spz of version 1 to 4.

    SH coefficients of degree 4 are dropped, with a warning. Rows with NaN, infinity or
    a zero-length quaternion are left out with a `DroppedRows` warning. UserError for a damaged
    file.
    """
    path = Path(path)
    header, streams, extensions = read_streams(path)
    if header.degree > 3:
        warn_of_degree_4(path)
    if header.flags & ANTIALIASED_FLAG:
        warn_of_antialiasing(path)
    if has_other_axes(extensions):
        warnings.warn(
            f"{path}: an extension names axes other than RUB; "
            "it is read as RUB and may be rotated or mirrored",
            stacklevel=2,
        )
    splats = unpack(streams, header.version, header.count, header.degree, header.bits)
    return to_world_coordinates(path, splats, torch.tensor(WORLD_TO_SPZ).T)
