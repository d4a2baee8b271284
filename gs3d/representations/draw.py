"""Pictures of whatever a run has made, for those who do not care what it is."""

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Mesh, Render, Splats, TexturedMesh
from gs3d.raster import rasterize
from gs3d.representations.surface.draw import draw_mesh

Made = Splats | Mesh | TexturedMesh


@torch.no_grad()
def draw(made: Made, cameras: Cameras, background: Tensor | tuple[float, float, float], normals: bool = False) -> Render:
    """B pictures over one colour [3], on the device that `made` is on; a mesh, which is arrays, is drawn on that of the cameras."""
    device = made.means.device if isinstance(made, Splats) else cameras.intrinsics.device
    colour = torch.as_tensor(background, dtype=torch.float32, device=device)
    if isinstance(made, Splats):
        return rasterize(made, cameras.to(device), colour, normals)
    return draw_mesh(made, cameras, colour)


def pieces_of(made: Made) -> int:
    """Splats, or triangles."""
    return len(made) if isinstance(made, Splats) else len(made.faces)
