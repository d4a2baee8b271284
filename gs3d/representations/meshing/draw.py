"""Render a finished mesh with the triangle rasterizer, without gradients."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import Cameras
from gs3d.core.types import Mesh, Render, TexturedMesh
from gs3d.representations.meshing.triangles import (
    Edges,
    Fragments,
    antialias,
    edges_of,
    fragments,
    interpolated,
)


@dataclass(frozen=True)
class _MergedMesh:
    """The geometry of a mesh with coincident vertices merged.

    Texture seams duplicate vertices. Merging them keeps a seam from being antialiased as an edge of
    the object.
    """

    points: Tensor
    faces: Tensor
    edges: Edges


def draw_mesh(mesh: Mesh | TexturedMesh, cameras: Cameras, background: Tensor) -> Render:
    """Render B images of `mesh` in its own colors, without lighting and with normals.

    `background` is [3], or [B, 3] for one color per camera.
    """
    device = cameras.intrinsics.device
    places, same = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = torch.from_numpy(same.reshape(-1)[mesh.faces]).to(device)
    merged = _MergedMesh(torch.from_numpy(places).to(device), faces, edges_of(faces))
    behind = background.to(device).expand(len(cameras), 3)
    with torch.no_grad():
        views = [_view(mesh, merged, cameras, view, behind[view]) for view in range(len(cameras))]
    rgb, alpha, depth, normal = (torch.stack(parts) for parts in zip(*views, strict=True))
    return Render(rgb, alpha, depth, normal, {})


def _view(
    mesh: Mesh | TexturedMesh, merged: _MergedMesh, cameras: Cameras, view: int, behind: Tensor
) -> tuple[Tensor, ...]:
    """Return color, alpha, depth and normal of one view, each [H, W, 3 or 1]."""
    seen = fragments(merged.points, merged.faces, cameras, view)
    covered = (seen.face >= 0)[..., None].float()
    rows = torch.from_numpy(mesh.faces).long().to(covered.device)
    normal = functional.normalize(
        interpolated(torch.from_numpy(mesh.normals).to(covered.device), rows, seen), dim=-1
    )
    image = torch.cat([_colors(mesh, rows, seen) * covered, normal * covered, covered], -1)
    image = antialias(image, seen, merged.faces, merged.edges)
    alpha = image[..., 6:]
    depth = torch.where(covered > 0, seen.depth[..., None], 0.0)
    return image[..., :3] + (1 - alpha) * behind, alpha, depth, image[..., 3:6]


def _colors(mesh: Mesh | TexturedMesh, rows: Tensor, seen: Fragments) -> Tensor:
    """Return the colors of the pixels, [H, W, 3], from vertex colors or the texture."""
    if isinstance(mesh, Mesh):
        return interpolated(torch.from_numpy(mesh.colors).to(rows.device), rows, seen)
    at = interpolated(torch.from_numpy(mesh.uvs).to(rows.device), rows, seen)
    texture = torch.from_numpy(mesh.texture).to(rows.device).permute(2, 0, 1)[None]
    return functional.grid_sample(
        texture, 2 * at[None] - 1, align_corners=False, padding_mode="border"
    )[0].permute(1, 2, 0)
