"""What is right by construction: objects of the world, their surfaces and colors, and splats that a perfect run would leave of one."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from gs3d.core.cameras import Cameras, distance_for, orbit, ring
from gs3d.core.types import SH_C0, Splats
from gs3d.evaluation.metrics.appearance import Appearance, appearance_of
from gs3d.evaluation.metrics.geometry import Surface, surface_of, unprojected
from gs3d.ops.transforms import rotate_splats
from gs3d.world.captions import Meaning
from gs3d.world.render import render
from gs3d.world.sample import reference_objects

RINGS_DEG = {-25.0: 4, 10.0: 8, 50.0: 4}
"""Elevation → cameras that look at the object from there."""


@dataclass(frozen=True)
class Reference:
    """Objects that a prompt is true of."""

    surfaces: tuple[Surface, ...]
    appearance: Appearance
    """Their mean."""


def around(size_px: int) -> Cameras:
    """16 cameras that between them see nearly all of an object's surface."""
    angles = [(360 * i / n, e) for e, n in RINGS_DEG.items() for i in range(n)]
    azimuth, elevation = torch.tensor(angles).deg2rad().T
    fovy = torch.full_like(azimuth, math.radians(38))
    return orbit(azimuth, elevation, distance_for(fovy, 0.95), fovy, size_px, size_px)


def reference_for(meaning: Meaning, objects: int = 24, size_px: int = 64) -> Reference:
    """The first `objects` of `world.sample.true_objects`."""
    made = reference_objects(meaning, objects)
    cameras, front = around(size_px), ring(8, size_px)
    surfaces, appearances = [], []
    for o in made:
        seen = render([o.parts] * len(cameras), cameras, supersample=1)
        depth, alpha, normal = (torch.from_numpy(a) for a in (seen.depth, seen.alpha, seen.normal))
        surfaces.append(surface_of(depth, alpha, cameras, normal))
        pictures = render([o.parts] * len(front), front)
        appearances.append(
            appearance_of(torch.from_numpy(pictures.rgb), torch.from_numpy(pictures.alpha))
        )
    return Reference(
        tuple(surfaces), Appearance.mean([appearance for appearance in appearances if appearance])
    )


def reference_splats(parts: np.ndarray, size_px: int = 96) -> Splats:
    """Opaque splats the size of a pixel wherever one of 16 cameras sees a surface; `parts` is [P, ROW] as in `world.sample.Sample`."""
    cameras = around(size_px)
    # One ray a pixel: with more, depth and color on a rim would be means of two surfaces, and the splat would float between them.
    seen = render([parts] * len(cameras), cameras, supersample=1)
    depth, hit = torch.from_numpy(seen.depth), torch.from_numpy(seen.alpha) > 0
    means = unprojected(depth, cameras)[hit]
    focal = cameras.intrinsics[:, 0, 0, None, None].expand(hit.shape)[hit]
    count = len(means)
    return Splats(
        means=means,
        quats=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1),
        scales=(0.6 * depth[hit] / focal)[:, None].repeat(1, 3),
        opacities=torch.full((count,), 0.95),
        sh=((torch.from_numpy(seen.rgb)[hit] - 0.5) / SH_C0)[:, None],
    )


def two_faced(splats: Splats) -> Splats:
    """The half in front of x = 0, and once more where the back was: an object with two faces, to try a mark of Janus on."""
    front = splats[splats.means[:, 0] > 0]
    return Splats.cat([front, rotate_splats(front, torch.diag(torch.tensor([-1.0, -1.0, 1.0])))])
