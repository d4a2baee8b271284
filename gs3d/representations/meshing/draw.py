"""Pictures of a finished mesh, as the triangle renderer sees it, without gradients."""

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
class _Solid:
    """A mesh whose corners that lie in one place are one, so that a seam of its texture is no edge of the object."""

    points: Tensor
    faces: Tensor
    edges: Edges


def draw_mesh(mesh: Mesh | TexturedMesh, cameras: Cameras, background: Tensor) -> Render:
    """B pictures of `mesh` in its own colors, without light, over `background`, [3] or one a camera [B, 3]; with normals."""
    device = cameras.intrinsics.device
    places, same = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = torch.from_numpy(same.reshape(-1)[mesh.faces]).to(device)
    solid = _Solid(torch.from_numpy(places).to(device), faces, edges_of(faces))
    behind = background.to(device).expand(len(cameras), 3)
    with torch.no_grad():
        views = [_view(mesh, solid, cameras, view, behind[view]) for view in range(len(cameras))]
    return Render(*(torch.stack(parts) for parts in zip(*views, strict=True)), {})


def _view(
    mesh: Mesh | TexturedMesh, solid: _Solid, cameras: Cameras, view: int, behind: Tensor
) -> tuple[Tensor, ...]:
    seen = fragments(solid.points, solid.faces, cameras, view)
    covered = (seen.face >= 0)[..., None].float()
    rows = torch.from_numpy(mesh.faces).long().to(covered.device)
    normal = functional.normalize(
        interpolated(torch.from_numpy(mesh.normals).to(covered.device), rows, seen), dim=-1
    )
    picture = torch.cat([_colors(mesh, rows, seen) * covered, normal * covered, covered], -1)
    picture = antialias(picture, seen, solid.faces, solid.edges)
    alpha = picture[..., 6:]
    depth = torch.where(covered > 0, seen.depth[..., None], 0.0)
    return picture[..., :3] + (1 - alpha) * behind, alpha, depth, picture[..., 3:6]


def _colors(mesh: Mesh | TexturedMesh, rows: Tensor, seen: Fragments) -> Tensor:
    """[H, W, 3]"""
    if isinstance(mesh, Mesh):
        return interpolated(torch.from_numpy(mesh.colors).to(rows.device), rows, seen)
    at = interpolated(torch.from_numpy(mesh.uvs).to(rows.device), rows, seen)
    texture = torch.from_numpy(mesh.texture).to(rows.device).permute(2, 0, 1)[None]
    return functional.grid_sample(
        texture, 2 * at[None] - 1, align_corners=False, padding_mode="border"
    )[0].permute(1, 2, 0)
