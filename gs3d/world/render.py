"""A sphere tracer for the world, in numba: colour, alpha, depth and normals of many objects at once."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from gs3d.core.cameras import Cameras
from gs3d.core.facing import facing

MOST_PARTS = 63
"""The tracer has a bit for each part of an object."""


@dataclass(frozen=True)
class Pictures:
    """M renders without a background: composite as `rgb + (1 − alpha) · background`."""

    rgb: np.ndarray
    """[M, H, W, 3] float32, premultiplied by alpha."""
    alpha: np.ndarray
    """[M, H, W] coverage."""
    depth: np.ndarray
    """[M, H, W] mean z-depth of what is hit, 0 elsewhere."""
    normal: np.ndarray
    """[M, H, W, 3] world-space, premultiplied by alpha."""

    def over(self, background: np.ndarray) -> np.ndarray:
        """[M, H, W, 3] in [0, 1] over one colour [3] or one a picture [M, 3]."""
        background = np.broadcast_to(np.asarray(background, np.float32), (len(self.rgb), 3))
        return self.rgb + (1 - self.alpha[..., None]) * background[:, None, None, :]

    def facing(self, cameras: Cameras) -> np.ndarray:
        """`core.facing` of the normals, [M, H, W, 3]."""
        return facing(torch.from_numpy(self.normal), torch.from_numpy(self.alpha)[..., None], cameras).numpy()


def render(tables: list[np.ndarray], cameras: Cameras, supersample: int = 2, device: str = "cpu") -> Pictures:
    """Render object `tables[i]` ([P, ROW] each) with camera i; `supersample`² rays a pixel.

    On "cuda" a hundred times as fast, and equal to some 1e-5.

    Raises:
        UserError: numba finds no card that it can compile for.
    """
    if len(tables) != len(cameras):
        raise ValueError(f"render: expected one camera an object, got {len(tables)} objects and {len(cameras)} cameras")
    if (most := max(map(len, tables), default=0)) > MOST_PARTS:
        raise ValueError(f"render: expected objects of {MOST_PARTS} parts at most, got one of {most}")
    starts = np.cumsum([0] + [len(t) for t in tables]).astype(np.int64)
    matrices = cameras.world_to_camera.numpy()
    centres = cameras.centres.numpy().astype(np.float32)
    focal = cameras.intrinsics[:, 0, 0].numpy().astype(np.float32)
    rotation = np.ascontiguousarray(matrices[:, :3, :3], np.float32)
    out = np.zeros((len(tables), cameras.height, cameras.width, 8), np.float32)
    _kernel(device)(np.concatenate(tables), starts, centres, rotation, focal, supersample, out)
    return Pictures(out[..., :3], out[..., 3], out[..., 4], out[..., 5:8])


@cache
def _kernel(device: str):
    if device == "cpu":
        from gs3d.world._tracer import trace
    else:
        from gs3d.world._tracer_cuda import trace
    return trace
