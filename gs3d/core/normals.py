"""Normal maps as RGB images in camera coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras

if TYPE_CHECKING:
    from jaxtyping import Float


def facing(
    normal: Float[Tensor, "B H W 3"], alpha: Float[Tensor, "B H W 1"], cameras: Cameras
) -> Float[Tensor, "B H W 3"]:
    """Convert world-space normals to colors: red = right, green = up, blue = towards the camera.

    `normal` is premultiplied by `alpha`. The colors are in [0, 1], also premultiplied by alpha.
    """
    rotation = cameras.world_to_camera[:, :3, :3]
    # Camera y points down and z away from the camera; the colors use the opposite directions.
    to_colors = torch.cat([rotation[:, :1], -rotation[:, 1:]], dim=1)
    return 0.5 * ((normal.flatten(1, 2) @ to_colors.mT).view_as(normal) + alpha)
