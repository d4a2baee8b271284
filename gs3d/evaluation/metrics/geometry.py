"""Surfaces as points with normals, sampled from depth maps, and distances between surfaces."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import Cameras, unprojected
from gs3d.core.rng import generator
from gs3d.representations.asset import Asset, draw

SOLID_ALPHA = 0.5
"""Least alpha of a pixel on the surface."""
MAX_POINTS = 2000
"""Most points of a surface: all surfaces are compared at a similar density."""


@dataclass(frozen=True)
class Surface:
    """Visible surface of an object, normalized: mean 0, root mean square radius 1."""

    points: Tensor
    """[n, 3] with n ≤ 2000; n = 0 if no camera sees the object."""
    normals: Tensor
    """[n, 3] outward unit normals; zero where unknown."""
    parts: Tensor | None = None
    """[n] int64: the part of the object that each point is on. None if unknown."""


@dataclass(frozen=True)
class Distance:
    """Distance between two surfaces."""

    chamfer: float
    """Chamfer distance: the mean distance from a point of one surface to the nearest point of the
    other, averaged over both directions. The unit is the root mean square radius."""
    normal_deg: float | None
    """Mean angle between the normals of these nearest neighbors, in degrees; None if no normals
    are known."""


def surface_of(
    depth: Tensor,
    alpha: Tensor,
    cameras: Cameras,
    normal: Tensor | None = None,
    parts: Tensor | None = None,
) -> Surface:
    """Sample the surface at the solid pixels (alpha ≥ 0.5) of depth and alpha maps [B, H, W].

    `normal` [B, H, W, 3] gives the normals; without it they are estimated from the depth. `parts`
    [B, H, W] int64 gives the part at each pixel, if known.
    """
    points, solid = unprojected(depth, cameras), alpha >= SOLID_ALPHA
    if normal is None:
        normal = _normals(points, solid, cameras)
    points, normals = points[solid], functional.normalize(normal[solid], dim=-1)
    parts = None if parts is None else parts[solid]
    if len(points) > MAX_POINTS:
        kept = torch.randperm(len(points), generator=generator(0, "surface"))[:MAX_POINTS]
        points, normals = points[kept], normals[kept]
        parts = None if parts is None else parts[kept]
    if len(points):
        points = points - points.mean(0)
        points = points / points.square().sum(1).mean().sqrt().clamp_min(1e-9)
    return Surface(points, normals, parts)


def _normals(points: Tensor, solid: Tensor, cameras: Cameras) -> Tensor:
    """Estimate normals [B, H, W, 3] from the neighbors two pixels away; zero at silhouettes.

    One pixel away would follow the bumps of single splats.
    """
    step = 2
    inside = slice(step, -step)
    down = points[:, 2 * step :, inside] - points[:, : -2 * step, inside]
    right = points[:, inside, 2 * step :] - points[:, inside, : -2 * step]
    valid = (
        solid[:, 2 * step :, inside]
        & solid[:, : -2 * step, inside]
        & solid[:, inside, 2 * step :]
        & solid[:, inside, : -2 * step]
    )
    # A slope above 80° counts as a jump between two surfaces, which has no normal.
    focal = cameras.intrinsics[:, 0, 0, None, None, None]
    away = (points - cameras.centers[:, None, None]).norm(dim=-1, keepdim=True)[:, inside, inside]
    longest = 2 * step * away / focal / math.cos(math.radians(80))
    valid = (
        valid[..., None]
        & (down.norm(dim=-1, keepdim=True) < longest)
        & (right.norm(dim=-1, keepdim=True) < longest)
    )
    normal = functional.normalize(torch.linalg.cross(down, right), dim=-1)
    return functional.pad(normal * valid, (0, 0, step, step, step, step))


@torch.no_grad()
def surface_of_asset(asset: Asset, cameras: Cameras) -> Surface:
    """Sample the surface of splats or of a mesh as seen by `cameras`.

    Normals come from rendered depth for both, so that meshes and splats are measured alike.
    """
    out = draw(asset, cameras, (0.0, 0.0, 0.0))
    return surface_of(out.depth[..., 0].cpu(), out.alpha[..., 0].cpu(), cameras)


def distance(a: Surface, b: Surface) -> Distance | None:
    """Return the distance between two surfaces; None if one of them is empty."""
    if not len(a.points) or not len(b.points):
        return None
    pairwise = torch.cdist(a.points, b.points)
    chamfers, angles = [], []
    for shortest, index, normals, other_normals in (
        (*pairwise.min(1), a.normals, b.normals),
        (*pairwise.min(0), b.normals, a.normals),
    ):
        cosine = (normals * other_normals[index]).sum(1)[
            (normals.norm(dim=1) > 0.5) & (other_normals[index].norm(dim=1) > 0.5)
        ]
        chamfers.append(shortest.mean().item())
        angles += [cosine.clamp(-1, 1).acos().rad2deg().mean().item()] if len(cosine) else []
    return Distance(sum(chamfers) / 2, sum(angles) / 2 if len(angles) == 2 else None)


def nearest(surface: Surface, others: tuple[Surface, ...]) -> Distance | None:
    """Return the distance to the nearest of `others` by Chamfer distance; None if none applies."""
    distances = [d for d in (distance(surface, other) for other in others) if d]
    return min(distances, key=lambda d: d.chamfer) if distances else None
