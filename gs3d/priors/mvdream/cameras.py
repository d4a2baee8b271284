"""What MVDream is told about the camera of each view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

    from gs3d.core.cameras import Cameras

NUMBERS = 16
"""Numbers that stand for a camera."""


def numbers_of(cameras: Cameras) -> Float[Tensor, "B 16"]:
    """Camera-to-world matrices, row by row, of cameras that look at the origin from distance 1.

    World axes are gs3d's own: +Z is up, and the camera in front of an object is on +X. The released
    `get_camera` puts azimuth 0 on −Y, 90° on +X and 180° on +Y, and its sampling script takes 90°
    as the first view (github.com/bytedance/MVDream, mvdream/camera_utils.py, scripts/t2i.py).
    Nobody turned the objects of its training data to one side, but what it makes faces +X
    (github.com/bytedance/MVDream, issue 19; github.com/dreamgaussian/dreamgaussian, issue 158).

    Camera axes are OpenGL's: x right, y up, z backward. Distance, field of view and a shift of the
    camera across its image (`CameraConfig.aim_jitter`) are not among the numbers; the released code
    divides the position by the distance too.
    """
    matrices = torch.zeros(len(cameras), 4, 4, device=cameras.world_to_camera.device)
    # The columns are the axes of the camera in the world; OpenCV's y and z point the other way.
    to_opengl = torch.tensor([1.0, -1.0, -1.0], device=matrices.device)
    matrices[:, :3, :3] = cameras.world_to_camera[:, :3, :3].transpose(1, 2) * to_opengl
    # From the origin, the camera is where it looks backward.
    matrices[:, :3, 3] = matrices[:, :3, 2]
    matrices[:, 3, 3] = 1
    return matrices.flatten(1)
