"""Surfaces as points with normals, read from depth maps, and how far two of them are apart."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import Cameras, rays
from gs3d.core.rng import generator
from gs3d.representations.asset import Asset, draw

SOLID = 0.5
"""Alpha from which a pixel is object."""
POINTS = 2000
"""Drawn from a surface, so that all are compared equally fine."""


@dataclass(frozen=True)
class Surface:
    """What cameras see of an object, brought to one place and size: mean 0, root mean square distance from it 1."""

    points: Tensor
    """[n, 3], n ≤ POINTS; none if nothing was seen."""
    normals: Tensor
    """[n, 3], outwards, of unit length; zero where they are not known."""


@dataclass(frozen=True)
class Distance:
    """Between two surfaces."""

    chamfer: float
    """Mean distance from a point of one to the nearest of the other, both ways averaged, in radii (root mean square) of the object."""
    normal_deg: float | None
    """Mean angle between the normals of such pairs; None where no normal is known."""


def unprojected(depth: Tensor, cameras: Cameras) -> Tensor:
    """Points of the world [B, H, W, 3] that z-depths [B, H, W] put behind each pixel."""
    directions, z_per_way = rays(cameras)
    return cameras.centers[:, None, None] + (depth / z_per_way)[..., None] * directions


def surface_of(
    depth: Tensor, alpha: Tensor, cameras: Cameras, normal: Tensor | None = None
) -> Surface:
    """The surface behind the solid pixels of depth and alpha maps [B, H, W]; normals from the depth unless given [B, H, W, 3]."""
    points, solid = unprojected(depth, cameras), alpha >= SOLID
    if normal is None:
        normal = _normals(points, solid, cameras)
    points, normals = points[solid], functional.normalize(normal[solid], dim=-1)
    if len(points) > POINTS:
        kept = torch.randperm(len(points), generator=generator(0, "surface"))[:POINTS]
        points, normals = points[kept], normals[kept]
    if len(points):
        points = points - points.mean(0)
        points = points / points.square().sum(1).mean().sqrt().clamp_min(1e-9)
    return Surface(points, normals)


def _normals(points: Tensor, solid: Tensor, cameras: Cameras) -> Tensor:
    """[B, H, W, 3] across the neighbors two pixels away, which evens out the grain of splats; zero at rims."""
    step = 2
    inside = slice(step, -step)
    down = points[:, 2 * step :, inside] - points[:, : -2 * step, inside]
    right = points[:, inside, 2 * step :] - points[:, inside, : -2 * step]
    whole = (
        solid[:, 2 * step :, inside]
        & solid[:, : -2 * step, inside]
        & solid[:, inside, 2 * step :]
        & solid[:, inside, : -2 * step]
    )
    # A jump between two surfaces is no slope: steeper than 80° it is taken for one.
    focal = cameras.intrinsics[:, 0, 0, None, None, None]
    away = (points - cameras.centers[:, None, None]).norm(dim=-1, keepdim=True)[:, inside, inside]
    longest = 2 * step * away / focal / math.cos(math.radians(80))
    whole = (
        whole[..., None]
        & (down.norm(dim=-1, keepdim=True) < longest)
        & (right.norm(dim=-1, keepdim=True) < longest)
    )
    normal = functional.normalize(torch.linalg.cross(down, right), dim=-1)
    return functional.pad(normal * whole, (0, 0, step, step, step, step))


@torch.no_grad()
def surface_of_asset(asset: Asset, cameras: Cameras) -> Surface:
    """What `cameras` see of splats or of a mesh, whose normals are read from depth too, so that both are measured alike."""
    out = draw(asset, cameras, (0.0, 0.0, 0.0))
    return surface_of(out.depth[..., 0].cpu(), out.alpha[..., 0].cpu(), cameras)


def distance(a: Surface, b: Surface) -> Distance | None:
    """None if one of them is empty."""
    if not len(a.points) or not len(b.points):
        return None
    apart = torch.cdist(a.points, b.points)
    chamfers, angles = [], []
    for near, index, here, there in (
        (*apart.min(1), a.normals, b.normals),
        (*apart.min(0), b.normals, a.normals),
    ):
        cosine = (here * there[index]).sum(1)[
            (here.norm(dim=1) > 0.5) & (there[index].norm(dim=1) > 0.5)
        ]
        chamfers.append(near.mean().item())
        angles += [cosine.clamp(-1, 1).acos().rad2deg().mean().item()] if len(cosine) else []
    return Distance(sum(chamfers) / 2, sum(angles) / 2 if len(angles) == 2 else None)


def nearest(surface: Surface, others: tuple[Surface, ...]) -> Distance | None:
    """The distance to the one of `others` that is least far by Chamfer distance."""
    apart = [d for d in (distance(surface, other) for other in others) if d]
    return min(apart, key=lambda d: d.chamfer) if apart else None
