"""Splats to pixels. `rasterize` picks the CPU or the CUDA rasterizer by where the splats are; `reference.py` is the oracle of both.

Nothing heavy is imported here: numba and gsplat are imported by the first picture that needs them.
"""

from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Render, Splats

__all__ = ["rasterize"]


def rasterize(
    splats: Splats, cameras: Cameras, background: Tensor | None = None, normals: bool = False
) -> Render:
    """Draws `splats` from every camera (3D Gaussian Splatting, Kerbl et al., 2023; EWA projection, Zwicker et al., 2001).

    Args:
        splats: N Gaussians, float32, all tensors on one device; N may be 0.
        cameras: B pinhole cameras of one image size, on any device; no gradient.
        background: [3] or [B, 3] in [0, 1], on the splats' device; None is black.
        normals: Also draw normals: each splat's shortest axis in the world, turned towards the camera.

    Returns:
        `Render`: rgb [B, H, W, 3], alpha and depth [B, H, W, 1], normal [B, H, W, 3] or None, differentiable in all tensors of `splats`;
        and in `aux` what densification reads, `means2d.grad` in loss per pixel among it.

    Raises:
        ValueError: A tensor of the wrong shape, dtype or device; the message names it.
        UserError: gsplat's CUDA extension cannot be built.
    """
    kind = splats.means.device.type
    if kind == "cpu":
        from gs3d.raster.cpu import rasterize_cpu

        return rasterize_cpu(splats, cameras, background, normals)
    if kind == "cuda":
        from gs3d.raster.cuda import rasterize_cuda

        return rasterize_cuda(splats, cameras, background, normals)
    raise ValueError(f"splats.means: expected a tensor on cpu or cuda, got one on {kind}")
