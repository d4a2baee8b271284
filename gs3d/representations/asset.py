"""Render and count an asset without knowing its type: splats, a mesh or a textured mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Mesh, Render, Splats, TexturedMesh
from gs3d.raster import rasterize
from gs3d.representations.meshing.draw import draw_mesh

if TYPE_CHECKING:
    from jaxtyping import Float

Asset = Splats | Mesh | TexturedMesh


@torch.no_grad()
def draw(
    asset: Asset,
    cameras: Cameras,
    background: Float[Tensor, " 3"] | tuple[float, float, float],
    normals: bool = False,
) -> Render:
    """Render `asset` from every camera over one background color, without gradients.

    Splats are rendered on their own device. A mesh consists of numpy arrays and is rendered on the
    device of the cameras, always with normals.
    """
    device = asset.means.device if isinstance(asset, Splats) else cameras.intrinsics.device
    color = torch.as_tensor(background, dtype=torch.float32, device=device)
    if isinstance(asset, Splats):
        return rasterize(asset, cameras.to(device), color, normals)
    return draw_mesh(asset, cameras, color)


def primitive_count(asset: Asset) -> int:
    """Return the number of splats or triangles."""
    return len(asset) if isinstance(asset, Splats) else len(asset.faces)
