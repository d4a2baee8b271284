"""OpenUSD as .usda text: one ParticleField3DGaussianSplat (usdVol, OpenUSD 26.03 and later).

Write only; there is no reader. Scales are linear, opacities in [0, 1], quaternions wxyz.
radiance:sphericalHarmonicsCoefficients holds all K coefficients of one splat before those of the
next, each a color, in the order and with the signs of 3DGS. The stage is +Y up with the front
towards +Z, as in glTF (gs3d.ops.transforms.WORLD_TO_GLTF). The hints of the schema keep their
defaults, which match the training: perspective, sorted by depth. Nine digits preserve every
float32 exactly, but as text they are slow and large, about 12 bytes each.
`usdcat -o splats.usdc splats.usda` converts the file to the compact binary form.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gs3d.core.types import Splats
from gs3d.io.atomic import write_atomic
from gs3d.io.splats.checks import changed_result, to_file_coordinates
from gs3d.ops.blocks import blocks
from gs3d.ops.transforms import WORLD_TO_GLTF
from gs3d.raster.reference import rotations

EXTENT_SIGMAS = 3.0
"""Standard deviations that count as inside a splat's extent. The kernel of the schema is assumed to
end there."""


def _extent(splats: Splats) -> np.ndarray:
    """Minimum and maximum corner [2, 3] of the bounding box of all splats."""
    boxes = []
    for rows in blocks(len(splats)):
        reach = EXTENT_SIGMAS * (rotations(splats.quats[rows]) * splats.scales[rows, None, :]).norm(
            dim=2
        )
        boxes.append(
            torch.stack(
                [(splats.means[rows] - reach).amin(dim=0), (splats.means[rows] + reach).amax(dim=0)]
            )
        )
    lows, highs = torch.stack(boxes).unbind(dim=1)
    return torch.stack([lows.amin(dim=0), highs.amax(dim=0)]).numpy()


def _attribute(declaration: str, rows: np.ndarray) -> Iterator[str]:
    """The text of one array attribute; `declaration` is its type and name, `rows` [N, width]."""
    width = rows.shape[1]
    row = "%.9g" if width == 1 else f"({', '.join(['%.9g'] * width)})"
    yield f"    {declaration} = ["
    for part in blocks(len(rows)):
        block = rows[part]
        separator = ", " if part.start else ""
        yield separator + ", ".join([row] * len(block)) % tuple(block.ravel().tolist())
    yield "]\n"


def _lines(splats: Splats) -> Iterator[str]:
    """The text of the file. `splats` in file coordinates."""
    degree = round(splats.sh.shape[1] ** 0.5) - 1
    yield '#usda 1.0\n(\n    defaultPrim = "splats"\n    metersPerUnit = 1\n    upAxis = "Y"\n)\n\n'
    yield 'def ParticleField3DGaussianSplat "splats"\n{\n'
    yield from _attribute("float3[] extent", _extent(splats))
    yield from _attribute("point3f[] positions", splats.means.numpy())
    yield from _attribute("quatf[] orientations", splats.quats.numpy())
    yield from _attribute("float3[] scales", splats.scales.numpy())
    yield from _attribute("float[] opacities", splats.opacities[:, None].numpy())
    yield f"    uniform int radiance:sphericalHarmonicsDegree = {degree}\n"
    yield from _attribute(
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
    """Write `splats` (world coordinates) as .usda.

    The checksum of the file is compared with that of the written text before the file takes the
    name `path`. Raises UserError like `save_splats`.
    """
    path = Path(path)
    rotated = to_file_coordinates(path, splats, torch.tensor(WORLD_TO_GLTF))
    checksum = 0

    def write(temp: Path) -> None:
        nonlocal checksum
        with open(temp, "wb") as stream:
            for line in _lines(rotated):
                checksum = zlib.crc32(line.encode(), checksum)
                stream.write(line.encode())

    def verify(temp: Path) -> None:
        if _checksum(temp) != checksum:
            raise changed_result(path, len(splats))

    write_atomic(path, write, verify)
