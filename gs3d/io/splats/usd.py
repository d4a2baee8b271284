"""OpenUSD as .usda text: one ParticleField3DGaussianSplat (usdVol, OpenUSD 26.03 and later). Written only; there is no reader.

Scales are linear, opacities lie in [0, 1], quaternions are wxyz, and radiance:sphericalHarmonicsCoefficients holds all K coefficients of
one splat before those of the next, each a color, in the order and with the signs of 3DGS. The stage is +Y up with the front towards +Z,
as glTF is (frames.WORLD_TO_GLTF). The schema's hints are left at what gs3d trains with: perspective, sorted by depth. Nine digits keep
every float32 exactly, but as text they are slow and large, some 12 bytes each: `usdcat -o splats.usdc splats.usda` makes them small.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gs3d.core.types import Splats
from gs3d.io.atomic import write_atomic
from gs3d.io.splats.checks import refusal, turned
from gs3d.ops.blocks import blocks
from gs3d.ops.transforms import WORLD_TO_GLTF
from gs3d.raster.reference import rotations

REACH = 3.0
"""Standard deviations that count as inside a splat's extent; the schema's kernel is taken to end there."""


def _extent(splats: Splats) -> np.ndarray:
    """Least and largest corner [2, 3] of the box around all splats."""
    corners = []
    for rows in blocks(len(splats)):
        reach = REACH * (rotations(splats.quats[rows]) * splats.scales[rows, None, :]).norm(dim=2)
        corners.append(
            torch.stack(
                [(splats.means[rows] - reach).amin(dim=0), (splats.means[rows] + reach).amax(dim=0)]
            )
        )
    lows, highs = torch.stack(corners).unbind(dim=1)
    return torch.stack([lows.amin(dim=0), highs.amax(dim=0)]).numpy()


def _text(name: str, rows: np.ndarray) -> Iterator[str]:
    """The attribute `name`, its type before it, with `rows` [N, width]."""
    width = rows.shape[1]
    row = "%.9g" if width == 1 else f"({', '.join(['%.9g'] * width)})"
    yield f"    {name} = ["
    for part in blocks(len(rows)):
        block = rows[part]
        yield (", " if part.start else "") + ", ".join([row] * len(block)) % tuple(
            block.ravel().tolist()
        )
    yield "]\n"


def _lines(splats: Splats) -> Iterator[str]:
    """The file, of splats in its frame."""
    degree = round(splats.sh.shape[1] ** 0.5) - 1
    yield '#usda 1.0\n(\n    defaultPrim = "splats"\n    metersPerUnit = 1\n    upAxis = "Y"\n)\n\n'
    yield 'def ParticleField3DGaussianSplat "splats"\n{\n'
    yield from _text("float3[] extent", _extent(splats))
    yield from _text("point3f[] positions", splats.means.numpy())
    yield from _text("quatf[] orientations", splats.quats.numpy())
    yield from _text("float3[] scales", splats.scales.numpy())
    yield from _text("float[] opacities", splats.opacities[:, None].numpy())
    yield f"    uniform int radiance:sphericalHarmonicsDegree = {degree}\n"
    yield from _text(
        "float3[] radiance:sphericalHarmonicsCoefficients", splats.sh.reshape(-1, 3).numpy()
    )
    yield "}\n"


def _checksum(path: Path) -> int:
    checksum = 0
    with open(path, "rb") as stream:
        while part := stream.read(1 << 20):
            checksum = zlib.crc32(part, checksum)
    return checksum


def write_usd(path: str | Path, splats: Splats) -> None:
    """Write `splats` (world frame) as .usda. The file's checksum is compared with what was written before it takes the name `path`."""
    path = Path(path)
    made = turned(path, splats, torch.tensor(WORLD_TO_GLTF))
    written = 0

    def write(temp: Path) -> None:
        nonlocal written
        with open(temp, "wb") as stream:
            for line in _lines(made):
                written = zlib.crc32(line.encode(), written)
                stream.write(line.encode())

    def verify(temp: Path) -> None:
        if _checksum(temp) != written:
            what = f"the file read back differs from the {len(splats)} splats that were written"
            raise refusal(path, what, "Try again; if it stays so, check the disk.")

    write_atomic(path, write, verify)
