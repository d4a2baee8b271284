"""Reference objects of the procedural world: exact surfaces, colors and ideal splats."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gs3d.core.cameras import Cameras, distance_for, orbit, ring, unprojected
from gs3d.core.types import SH_C0, Splats
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.metrics.appearance import Appearance, appearance_of
from gs3d.evaluation.metrics.detail import Detail, detail_of
from gs3d.evaluation.metrics.geometry import Surface, surface_of
from gs3d.evaluation.metrics.parts import color_shares
from gs3d.ops.transforms import rotate_splats
from gs3d.world.captions import Meaning
from gs3d.world.render import render
from gs3d.world.sample import reference_objects

DETAIL_PX = 128
"""Side of the renders in which detail is measured: those of `grade`."""
CAMERAS_BY_ELEVATION_DEG = {-25.0: 4, 10.0: 8, 50.0: 4}
"""Elevation → number of cameras at that elevation."""


@dataclass(frozen=True)
class Reference:
    """Surfaces and appearance of the reference objects of a prompt."""

    surfaces: tuple[Surface, ...]
    """One per reference object."""
    appearance: Appearance
    """Mean over the reference objects."""
    detail: Detail
    """Mean over the reference objects, in renders of `DETAIL_PX`."""
    colors: tuple[Tensor, ...]
    """`metrics.parts.color_shares` of each reference object."""


def around(size_px: int) -> Cameras:
    """Return 16 cameras that together see almost the whole surface of an object."""
    angles = [(360 * i / n, e) for e, n in CAMERAS_BY_ELEVATION_DEG.items() for i in range(n)]
    azimuth, elevation = torch.tensor(angles).deg2rad().T
    fovy = torch.full_like(azimuth, math.radians(38))
    return orbit(azimuth, elevation, distance_for(fovy, 0.95), fovy, size_px, size_px)


def reference_for(meaning: Meaning, objects: int = 24, size_px: int = 64) -> Reference:
    """Measure the first `objects` reference objects of a prompt (`world.sample`)."""
    samples = reference_objects(meaning, objects)
    cameras, views = around(size_px), ring(8, DETAIL_PX)
    surfaces, appearances, details, colors = [], [], [], []
    for sample in samples:
        seen = render([sample.parts] * len(cameras), cameras, supersample=1)
        depth, alpha, normal = (torch.from_numpy(a) for a in (seen.depth, seen.alpha, seen.normal))
        parts = visible_parts(sample.parts, depth, cameras)
        surfaces.append(surface_of(depth, alpha, cameras, normal, parts))
        images = render([sample.parts] * len(views), views)
        rgb, alpha = (
            torch.from_numpy(a) for a in (images.over(np.full(3, LIGHT_GRAY)), images.alpha)
        )
        appearances.append(appearance_of(rgb, alpha))
        details.append(detail_of(rgb, alpha))
        colors.append(color_shares(rgb, alpha))
    return Reference(
        tuple(surfaces),
        Appearance.mean([appearance for appearance in appearances if appearance]),
        Detail.mean(details),
        tuple(colors),
    )


def visible_parts(parts: np.ndarray, depth: Tensor, cameras: Cameras) -> Tensor:
    """Row of `parts` [P, ROW] that each pixel of an object's depth [B, H, W] shows.

    It is the part whose depth, rendered alone, is nearest to that of the object.
    """
    count, views = len(parts), len(cameras)
    alone = render(
        [parts[i : i + 1] for i in range(count) for _ in range(views)],
        cameras[torch.arange(views).repeat(count)],
        supersample=1,
    )
    error = (torch.from_numpy(alone.depth).reshape(count, *depth.shape) - depth).abs()
    error[torch.from_numpy(alone.alpha).reshape(error.shape) == 0] = math.inf
    return error.argmin(0)


def reference_splats(parts: np.ndarray, size_px: int = 96) -> Splats:
    """Convert a reference object to ideal splats, opaque and the size of a pixel.

    Each surface pixel of the 16 cameras of `around` gives one splat. `parts` is [P, ROW] as in
    `world.sample.Sample`.
    """
    cameras = around(size_px)
    # One ray per pixel: with more, depth and color at a silhouette would be averages of two
    # surfaces, and the splat would lie between them.
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
    """Replace the back half (x ≤ 0) by a copy of the front half turned by 180° about z.

    The result has two fronts, a known case for testing the Janus metric.
    """
    front = splats[splats.means[:, 0] > 0]
    return Splats.cat([front, rotate_splats(front, torch.diag(torch.tensor([-1.0, -1.0, 1.0])))])
