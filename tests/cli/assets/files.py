"""Splats and splat files for tests of commands on files."""

from pathlib import Path

import numpy as np
import plyfile
import torch
from torch.nn.functional import normalize

from gs3d.core.types import Splats


def ball(count: int = 2000, degree: int = 1) -> Splats:
    """Splats on a sphere of radius 0.8, with random orientations, opacities and colors."""
    gen = torch.Generator().manual_seed(0)
    means = 0.8 * normalize(torch.randn(count, 3, generator=gen), dim=1)
    quats = normalize(torch.randn(count, 4, generator=gen), dim=1)
    sh = 0.3 * torch.randn(count, (degree + 1) ** 2, 3, generator=gen).clamp(-2, 2)
    opacities = 0.05 + 0.9 * torch.rand(count, generator=gen)
    return Splats(means, quats, torch.full((count, 3), 0.03), opacities, sh)


def write_nan_rows(path: Path, rows: int) -> None:
    """Set the x coordinate of the first rows of a .ply to NaN."""
    table = np.array(plyfile.PlyData.read(str(path))["vertex"].data)
    table["x"][:rows] = np.nan
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")]).write(str(path))
