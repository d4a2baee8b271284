"""Rasterization of splats. `rasterize` selects the CPU or CUDA rasterizer by the splats' device.

Both are tested against `reference.py`. The imports are light: numba and gsplat are imported by the
first render that needs them.
"""

from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.runtime.interrupts import deferred
from gs3d.core.types import Render, Splats
from gs3d.raster._check import BLUR_PX2

__all__ = ["BLUR_PX2", "rasterize"]


def rasterize(
    splats: Splats,
    cameras: Cameras,
    background: Tensor | None = None,
    normals: bool = False,
    blur_px2: float = BLUR_PX2,
) -> Render:
    """Render `splats` from every camera.

    3D Gaussian Splatting (Kerbl et al., 2023) with EWA projection (Zwicker et al., 2001).

    Args:
        splats: N Gaussians, float32, all tensors on one device; N may be 0.
        cameras: B pinhole cameras of one image size, on any device; they get no gradient.
        background: Color [3] or [B, 3] in [0, 1], on the device of the splats; None is black.
        normals: Also render normals. The normal of a splat is its shortest axis in the world,
            oriented towards the camera.
        blur_px2: Added to the variances of the projected splats, so that none falls between the
            pixels. Viewers use 0.3. 0 is right for splats that are no smaller than a pixel.

    Returns:
        `Render` with rgb [B, H, W, 3], alpha and depth [B, H, W, 1], and normal [B, H, W, 3] or
        None. All are differentiable in all tensors of `splats`. `aux` has the inputs of
        densification, including `means2d.grad` in loss per pixel.

    Raises:
        ValueError: A tensor has the wrong shape, dtype or device; the message names it.
        UserError: gsplat's CUDA extension cannot be built.
    """
    kind = splats.means.device.type
    if kind == "cpu":
        with deferred():
            from gs3d.raster.cpu import rasterize_cpu

        return rasterize_cpu(splats, cameras, background, normals, blur_px2)
    if kind == "cuda":
        with deferred():
            from gs3d.raster.cuda import rasterize_cuda

        return rasterize_cuda(splats, cameras, background, normals, blur_px2)
    raise ValueError(f"splats.means: expected a tensor on cpu or cuda, got one on {kind}")
