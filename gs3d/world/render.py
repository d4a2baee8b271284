"""A sphere tracer for the world, in numba: color, alpha, depth and normals of many objects at once."""

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
import torch

from gs3d.core.cameras import Cameras
from gs3d.core.errors import UserError
from gs3d.core.normals import facing
from gs3d.core.runtime.cache import import_numba
from gs3d.world.parts import checked


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
        """[M, H, W, 3] in [0, 1] over one color [3] or one a picture [M, 3]."""
        background = np.broadcast_to(np.asarray(background, np.float32), (len(self.rgb), 3))
        return self.rgb + (1 - self.alpha[..., None]) * background[:, None, None, :]

    def facing(self, cameras: Cameras) -> np.ndarray:
        """`core.facing` of the normals, [M, H, W, 3]."""
        return facing(
            torch.from_numpy(self.normal), torch.from_numpy(self.alpha)[..., None], cameras
        ).numpy()


Device = Literal["cpu", "cuda"]


def render(
    tables: list[np.ndarray], cameras: Cameras, supersample: int = 2, device: Device = "cpu"
) -> Pictures:
    """Render object `tables[i]` ([P, ROW] each) with camera i; `supersample`² rays a pixel.

    On "cuda" a ray that only just hits may miss, and the other way round; all else is equal but for rounding.

    Raises:
        ValueError: Not a camera an object; a table of another shape, or of more than `parts.MOST_PARTS` rows.
        UserError: "cuda", and numba finds no card.
    """
    if len(tables) != len(cameras):
        raise ValueError(
            f"render: expected one camera an object, got {len(tables)} objects and {len(cameras)} cameras"
        )
    tables = [checked(table) for table in tables]
    starts = np.cumsum([0] + [len(t) for t in tables]).astype(np.int64)
    matrices = cameras.world_to_camera.numpy()
    centers = cameras.centers.numpy().astype(np.float32)
    focal = cameras.intrinsics[:, 0, 0].numpy().astype(np.float32)
    rotation = np.ascontiguousarray(matrices[:, :3, :3], np.float32)
    out = np.zeros((len(tables), cameras.height, cameras.width, 8), np.float32)
    _kernel(device)(np.concatenate(tables), starts, centers, rotation, focal, supersample, out)
    return Pictures(out[..., :3], out[..., 3], out[..., 4], out[..., 5:8])


def has_card() -> bool:
    """Whether numba finds a card that it can draw on."""
    return _why_no_card() is None


def _why_no_card() -> str | None:
    import_numba()
    try:
        from numba import cuda

        found = cuda.is_available()
    except Exception as error:  # versions that do not fit numpy fail on import, each in its own way
        return f"numba.cuda cannot be loaded ({type(error).__name__}: {error})"
    return None if found else "numba finds no card here; install numba-cuda and a driver"


@cache
def _kernel(device: Device):
    if device not in get_args(Device):
        raise ValueError(f"device: expected one of {', '.join(get_args(Device))}, got {device!r}")
    if device == "cuda" and (why := _why_no_card()):
        raise UserError(f"drawing the world on cuda: {why}, or draw on the CPU")
    if device == "cpu":
        from gs3d.world.tracer.kernels import trace
    else:
        from gs3d.world.tracer.cuda import trace
    return trace
