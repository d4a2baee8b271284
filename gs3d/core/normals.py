"""Normal maps as pictures: which way a surface faces, as the camera sees it."""

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras


def facing(normal: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
    """Red to the right, green up, blue to the viewer: [B, H, W, 3] in [0, 1], premultiplied by alpha.

    `normal` [B, H, W, 3] is of the world and premultiplied by `alpha` [B, H, W, 1].
    """
    rotation = cameras.world_to_camera[:, :3, :3]
    to_colors = torch.cat(
        [rotation[:, :1], -rotation[:, 1:]], dim=1
    )  # cameras have y down and z away from them
    return 0.5 * ((normal.flatten(1, 2) @ to_colors.mT).view_as(normal) + alpha)
