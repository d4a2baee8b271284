"""Sphere tracing of the world with numba: color, alpha, depth and normals of many objects."""

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
    """M renders without a background; to add one, compute `rgb + (1 − alpha) · background`."""

    rgb: np.ndarray
    """[M, H, W, 3] float32, premultiplied by alpha."""
    alpha: np.ndarray
    """[M, H, W] coverage in [0, 1]."""
    depth: np.ndarray
    """[M, H, W] mean z-depth of the rays that hit the object, 0 where none does."""
    normal: np.ndarray
    """[M, H, W, 3] in world coordinates, premultiplied by alpha."""

    def over(self, background: np.ndarray) -> np.ndarray:
        """Composite over one color [3] or one color per image [M, 3]: [M, H, W, 3] in [0, 1]."""
        background = np.broadcast_to(np.asarray(background, np.float32), (len(self.rgb), 3))
        return self.rgb + (1 - self.alpha[..., None]) * background[:, None, None, :]

    def facing(self, cameras: Cameras) -> np.ndarray:
        """Normal maps as images, see `core.normals.facing`: [M, H, W, 3]."""
        return facing(
            torch.from_numpy(self.normal), torch.from_numpy(self.alpha)[..., None], cameras
        ).numpy()


Device = Literal["cpu", "cuda"]


def render(
    tables: list[np.ndarray], cameras: Cameras, supersample: int = 2, device: Device = "cpu"
) -> Pictures:
    """Render object `tables[i]` ([P, ROW] each) with camera i, using `supersample`² rays per pixel.

    Results on "cuda" and "cpu" agree up to rounding, except that a ray that barely hits the object
    on one device may miss it on the other.

    Raises:
        ValueError: The number of cameras differs from the number of objects, `device` is unknown,
            or a table has another shape or more than `parts.MAX_PARTS` rows.
        UserError: `device` is "cuda" and numba finds no CUDA device.
    """
    if len(tables) != len(cameras):
        raise ValueError(
            f"render: expected one camera per object, "
            f"got {len(tables)} objects and {len(cameras)} cameras"
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
    """Whether numba finds a CUDA device."""
    return _why_no_cuda() is None


def _why_no_cuda() -> str | None:
    """The reason why numba cannot use CUDA; None if it can."""
    import_numba()
    try:
        from numba import cuda

        found = cuda.is_available()
    # Versions that are incompatible with numpy fail on import with various exceptions.
    except Exception as error:
        return f"numba.cuda cannot be imported ({type(error).__name__}: {error})"
    return None if found else "numba finds no CUDA device; install numba-cuda and a driver"


@cache
def _kernel(device: Device):
    if device not in get_args(Device):
        raise ValueError(f"device: expected one of {', '.join(get_args(Device))}, got {device!r}")
    if device == "cuda" and (reason := _why_no_cuda()):
        raise UserError(f"rendering the world on cuda: {reason}, or render on the CPU")
    if device == "cpu":
        from gs3d.world.tracer.cpu import trace
    else:
        from gs3d.world.tracer.cuda import trace
    return trace
