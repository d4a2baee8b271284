"""Is it an object and nothing else: smoke, what leaves the frame, and splats that float beside the object."""

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import Cameras
from gs3d.core.types import Splats

SEEN, SOLID = 0.05, 0.5
"""Alphas from which a pixel shows something, and is object."""


def residue_of(alpha: Tensor) -> float:
    """Of the pixels of [B, H, W] that show anything, the share that is smoke: not solid, and off the rim of what is.

    The rim is 2.5 % of the picture wide: so far may the soft edge of a clean object reach.
    """
    near = _near_solid(alpha)
    seen = alpha > SEEN
    return (seen & ~near).sum().item() / max(seen.sum().item(), 1)


def _near_solid(alpha: Tensor) -> Tensor:
    rim = max(1, round(0.025 * alpha.shape[-1]))
    solid = (alpha >= SOLID).float()[:, None]
    return functional.max_pool2d(solid, 2 * rim + 1, stride=1, padding=rim)[:, 0] > 0


def clipped_of(alpha: Tensor) -> float:
    """Share of the alpha of [B, H, W] in the outermost 2 % of the picture on each side: above about 0.01 the object leaves the frame."""
    edge = max(1, round(0.02 * alpha.shape[-1]))
    outer = torch.ones_like(alpha)
    outer[:, edge:-edge, edge:-edge] = 0
    total = alpha.sum().item()
    return (alpha * outer).sum().item() / total if total > 0 else 0.0


def floaters_of(splats: Splats, alpha: Tensor, cameras: Cameras) -> float:
    """Share of the splats' mass outside the visual hull of what is solid in `alpha` [B, H, W], as `cameras` saw it.

    A splat weighs its opacity times the product of its two longer axes, and is outside when any camera sees its center off the solid
    pixels and their rim.
    """
    count = len(splats)
    if not count:
        return 0.0
    means, scales, opacities = (
        t.detach().cpu().float() for t in (splats.means, splats.scales, splats.opacities)
    )
    near = _near_solid(alpha)
    height, width = alpha.shape[1:]
    inside = torch.ones(count, dtype=torch.bool)
    for matrix, intrinsics, solid in zip(
        cameras.world_to_camera, cameras.intrinsics, near, strict=True
    ):
        local = means @ matrix[:3, :3].T + matrix[:3, 3]
        flat = local @ intrinsics.T
        pixel = (flat[:, :2] / flat[:, 2:].clamp_min(1e-6)).floor().long()
        column, row = pixel[:, 0], pixel[:, 1]
        framed = (local[:, 2] > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        inside &= framed & solid[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    mass = opacities * scales.sort(dim=1).values[:, 1:].prod(dim=1)
    total = mass.sum().item()
    return mass[~inside].sum().item() / total if total > 0 else 0.0
