"""Normal maps as RGB images in camera coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Render

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


def normal_map(
    out: Render, cameras: Cameras, background: Float[Tensor, "B 3"]
) -> Float[Tensor, "B H W 3"]:
    """Normal maps of a render with normals over a background, as colors in [0, 1]."""
    assert out.normal is not None
    return facing(out.normal, out.alpha, cameras) + (1 - out.alpha) * background[:, None, None]
