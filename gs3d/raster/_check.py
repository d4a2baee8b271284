"""Argument checks of the rasterizers, because the compiled kernels do not check array bounds."""

import math

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Splats

BLUR_PX2 = 0.3
"""Variance that 3D Gaussian Splatting and its viewers add to every projected splat, in px²."""
_SH_COUNTS = (1, 4, 9, 16)


def _check_tensor(
    name: str,
    tensor: object,
    shape: tuple[int | str, ...],
    dtype: torch.dtype | None,
    device: torch.device | None,
) -> None:
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    shape_matches = tensor.dim() == len(shape) and all(
        isinstance(n, str) or n == got for n, got in zip(shape, tensor.shape, strict=False)
    )
    if not shape_matches:
        expected = ", ".join(str(n) for n in shape)
        raise ValueError(f"{name}: expected shape [{expected}], got {list(tensor.shape)}")
    if dtype is not None and tensor.dtype != dtype:
        raise ValueError(
            f"{name}: expected {dtype}, got {tensor.dtype}; "
            "only rasterize_reference takes other dtypes"
        )
    if device is not None and tensor.device != device:
        raise ValueError(
            f"{name}: expected device {device}, that of splats.means, got {tensor.device}"
        )


def _check_size(name: str, size: object) -> None:
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"{name}: expected a whole number of pixels, 1 or more, got {size!r}")


def check(splats: Splats, cameras: Cameras, background: Tensor | None, blur_px2: float) -> None:
    """Raise `ValueError` if the arguments of a rasterizer are invalid.

    The message names the argument, what was expected, and what was given.
    """
    if not 0 <= blur_px2 < math.inf:
        raise ValueError(f"blur_px2: expected a finite number, 0 or more, got {blur_px2!r}")
    f32, n = torch.float32, len(splats)
    _check_tensor("splats.means", splats.means, ("N", 3), f32, None)
    device = splats.means.device
    _check_tensor("splats.quats", splats.quats, (n, 4), f32, device)
    _check_tensor("splats.scales", splats.scales, (n, 3), f32, device)
    _check_tensor("splats.opacities", splats.opacities, (n,), f32, device)
    _check_tensor("splats.sh", splats.sh, (n, "K", 3), f32, device)
    if splats.sh.shape[1] not in _SH_COUNTS:
        raise ValueError(
            "splats.sh: expected 1, 4, 9 or 16 coefficients (degree 0 to 3), "
            f"got {splats.sh.shape[1]}"
        )
    _check_tensor("cameras.world_to_camera", cameras.world_to_camera, ("B", 4, 4), None, None)
    _check_tensor("cameras.intrinsics", cameras.intrinsics, (len(cameras), 3, 3), None, None)
    if len(cameras) == 0:
        raise ValueError("cameras: expected at least one camera, got none")
    _check_size("cameras.width", cameras.width)
    _check_size("cameras.height", cameras.height)
    if background is not None:
        shape = (3,) if background.dim() == 1 else (len(cameras), 3)
        _check_tensor("background", background, shape, f32, device)
