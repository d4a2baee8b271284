"""Normal maps as pictures: which way a surface faces, as the camera sees it."""

from torch import Tensor

from gs3d.core.cameras import Cameras


def facing(normal: Tensor, alpha: Tensor, cameras: Cameras) -> Tensor:
    """Red to the right, green up, blue to the viewer: [B, H, W, 3] in [0, 1], premultiplied by alpha.

    `normal` [B, H, W, 3] is of the world and premultiplied by `alpha` [B, H, W, 1].
    """
    seen = (cameras.world_to_camera[:, None, None, :3, :3] @ normal[..., None])[..., 0]
    return 0.5 * (seen * seen.new_tensor((1.0, -1.0, -1.0)) + alpha)
