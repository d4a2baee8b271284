"""An object of the world as splats, without any optimisation: what a perfect run would leave. It shows what marks the grader can give."""

import math

import numpy as np
import torch

from gs3d.core.cameras import distance_for, orbit
from gs3d.core.types import Splats
from gs3d.representations.gaussians import SH_C0
from gs3d.world.render import render

RINGS_DEG = {-25.0: 4, 10.0: 8, 50.0: 4}
"""Elevation → cameras that look at the object from there."""


def true_splats(parts: np.ndarray, size_px: int = 96) -> Splats:
    """Opaque splats the size of a pixel wherever one of 16 cameras sees a surface; `parts` is [P, ROW] as in `world.sample.Sample`."""
    angles = [(360 * i / n, e) for e, n in RINGS_DEG.items() for i in range(n)]
    azimuth, elevation = torch.tensor(angles).deg2rad().T
    fovy = torch.full_like(azimuth, math.radians(38))
    cameras = orbit(azimuth, elevation, distance_for(fovy, 0.95), fovy, size_px, size_px)
    # One ray a pixel: with more, depth and colour on a rim would be means of two surfaces, and the splat would float between them.
    seen = render([parts] * len(cameras), cameras, supersample=1)
    view, row, column = np.nonzero(seen.alpha)
    depth, focal = seen.depth[view, row, column], cameras.intrinsics[:, 0, 0].numpy()[view]
    local = np.stack([column + 0.5 - size_px / 2, row + 0.5 - size_px / 2, focal], 1) * (depth / focal)[:, None]
    matrix = cameras.world_to_camera.numpy()[view]
    means = np.einsum("ni,nij->nj", local - matrix[:, :3, 3], matrix[:, :3, :3])
    count = len(means)
    return Splats(
        means=torch.from_numpy(means).float(),
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        scales=torch.from_numpy(0.6 * depth / focal).float()[:, None].repeat(1, 3),
        opacities=torch.full((count,), 0.95),
        sh=((torch.from_numpy(seen.rgb[view, row, column]) - 0.5) / SH_C0)[:, None],
    )
