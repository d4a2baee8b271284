"""Pictures of whatever a run has made, for those who do not care what it is."""

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Mesh, Render, Splats, TexturedMesh
from gs3d.raster import rasterize
from gs3d.representations.meshing.draw import draw_mesh

Asset = Splats | Mesh | TexturedMesh


@torch.no_grad()
def draw(
    asset: Asset,
    cameras: Cameras,
    background: Tensor | tuple[float, float, float],
    normals: bool = False,
) -> Render:
    """B pictures over one color [3], on the device that `made` is on; a mesh, which is arrays, is drawn on that of the cameras."""
    device = asset.means.device if isinstance(asset, Splats) else cameras.intrinsics.device
    color = torch.as_tensor(background, dtype=torch.float32, device=device)
    if isinstance(asset, Splats):
        return rasterize(asset, cameras.to(device), color, normals)
    return draw_mesh(asset, cameras, color)


def primitive_count(asset: Asset) -> int:
    """Splats, or triangles."""
    return len(asset) if isinstance(asset, Splats) else len(asset.faces)
