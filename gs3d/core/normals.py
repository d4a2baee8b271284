"""Normal maps as RGB images in camera coordinates."""

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras


def facing(normal: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
    """Convert world-space normals to colors: red = right, green = up, blue = towards the camera.

    `normal` is [B, H, W, 3], premultiplied by `alpha` [B, H, W, 1]. Returns [B, H, W, 3] in [0, 1],
    also premultiplied by alpha.
    """
    rotation = cameras.world_to_camera[:, :3, :3]
    # Camera y points down and z away from the camera; the colors use the opposite directions.
    to_colors = torch.cat([rotation[:, :1], -rotation[:, 1:]], dim=1)
    return 0.5 * ((normal.flatten(1, 2) @ to_colors.mT).view_as(normal) + alpha)
