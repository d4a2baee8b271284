""".spz, Niantic's compressed splats: about a tenth of a .ply. Read in versions 1 to 4, written as 3, 2 or 4.

The layout of the file stands in spz_file.py, how each number is rounded in spz_streams.py. Version 3 is the default as the most viewers
read it: Spark 2.1 and Babylon.js stop there, and SuperSplat reads 2 to 4.

The frame is the format's own, RUB (x right, y up, z back, as the viewer sees it), which is glTF's with the front +Z and that of our
meshes: file x = world y, file y = world z, file z = world x. Babylon.js and the reference library take a file to be so; three.js and
Spark show it upright if the page does not turn it. But the reference's own converter puts Y-down .ply rows into a file as they are, many
files are so, and SuperSplat since May 2026 turns each by half a turn about Z: there ours stands on its head until it is turned by hand.
A file does not say which it is, and is read as RUB.
"""

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io.atomic import write_atomic
from gs3d.io.splats.checks import from_rows, refusal, turned
from gs3d.io.spz.container import Header, encoded, other_axes, read_streams
from gs3d.io.spz.streams import POSITION_LIMIT, fractional_bits, pack, unpack

WORLD_TO_SPZ = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))


def _packed(path: Path, splats: Splats, version: int) -> tuple[Header, list[np.ndarray]]:
    """The header and the streams of what is to be written."""
    made = turned(path, splats, torch.tensor(WORLD_TO_SPZ))
    extent = float(made.means.abs().max())
    if (bits := fractional_bits(extent)) < 0:
        what = f"expected coordinates within ±{POSITION_LIMIT}, got one of {extent:.4g}"
        raise refusal(path, what, "Make the scene smaller or remove stray splats.")
    degree = round(splats.sh.shape[1] ** 0.5) - 1
    return Header(version, len(splats), degree, bits, flags=0, streams=0), pack(made, bits, version)


def encode_spz(path: Path, splats: Splats) -> bytes:
    """What `write_spz` would write, for a page at `path` that has it inside."""
    return encoded(path, *_packed(path, splats, 3))


def write_spz(path: str | Path, splats: Splats, version: Literal[2, 3, 4] = 3) -> None:
    """Write `splats` (world frame) as an .spz, rounded as `spz_streams` says. What was written is read back and compared before it takes
    the name `path`. Version 2 is for old viewers, its rotations may be off by degrees; version 4 for the newest.
    """
    path = Path(path)
    if version not in (2, 3, 4):
        raise UserError(
            f"version: expected 2, 3 or 4 of .spz, got {version!r}. Most viewers read 3."
        )
    header, streams = _packed(path, splats, version)
    data = encoded(path, header, streams)

    def verify(temp: Path) -> None:
        try:
            got = read_streams(temp)[1]
        except UserError as error:
            raise refusal(
                path,
                "what was written cannot be read back",
                "Try again; if it stays so, check the disk.",
            ) from error
        if not all(map(np.array_equal, got, streams)):
            what = f"the file read back differs from the {len(splats)} splats that were written"
            raise refusal(path, what, "Try again; if it stays so, check the disk.")

    write_atomic(path, lambda temp: temp.write_bytes(data), verify)


def read_spz(path: str | Path) -> Splats:
    """Splats in the world frame, float32 on the CPU, from an .spz of version 1 to 4; harmonics of degree 4 are cut to 3 with a warning."""
    path = Path(path)
    header, streams, more = read_streams(path)
    if header.degree > 3:
        warnings.warn(
            f"{path}: harmonics of degree 4 are cut to degree 3, the highest known here",
            stacklevel=2,
        )
    if other_axes(more):
        warnings.warn(
            f"{path}: an extension names axes other than RUB; it is read as RUB and may lie turned or mirrored",
            stacklevel=2,
        )
    return from_rows(
        path,
        unpack(streams, header.version, header.count, header.degree, header.bits),
        torch.tensor(WORLD_TO_SPZ).T,
    )
