"""Cleanliness of a render: semi-transparent residue, clipping by the image border, and floaters.

Residue is the thin, semi-transparent haze that distillation leaves around an object.
"""

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import Cameras
from gs3d.core.types import Splats

VISIBLE_ALPHA, SOLID_ALPHA = 0.05, 0.5
"""Alpha thresholds: above the first a pixel shows something; from the second on it is solid."""


def residue_of(alpha: Tensor) -> float:
    """Return the residue as a share of the visible pixels of alpha maps [B, H, W].

    Residue is every visible pixel that is neither solid nor within 2.5 % of the image width of a
    solid pixel. The soft edge of a clean object lies inside that margin.
    """
    near = _near_solid(alpha)
    seen = alpha > VISIBLE_ALPHA
    return (seen & ~near).sum().item() / max(seen.sum().item(), 1)


def _near_solid(alpha: Tensor) -> Tensor:
    margin = max(1, round(0.025 * alpha.shape[-1]))
    solid = (alpha >= SOLID_ALPHA).float()[:, None]
    return functional.max_pool2d(solid, 2 * margin + 1, stride=1, padding=margin)[:, 0] > 0


def clipped_of(alpha: Tensor) -> float:
    """Return the share of the alpha of [B, H, W] within 2 % of the image border.

    A value above about 0.01 means that the image border cuts the object off.
    """
    edge = max(1, round(0.02 * alpha.shape[-1]))
    outer = torch.ones_like(alpha)
    outer[:, edge:-edge, edge:-edge] = 0
    total = alpha.sum().item()
    return (alpha * outer).sum().item() / total if total > 0 else 0.0


def floaters_of(splats: Splats, alpha: Tensor, cameras: Cameras) -> float:
    """Return the share of the splats' mass outside the visual hull of the solid object.

    `alpha` [B, H, W] is the splats' alpha as rendered by `cameras`. The mass of a splat is its
    opacity times the product of its two longest axes. A splat is outside if at least one camera
    sees its center neither on a solid pixel nor within the margin of `residue_of`.
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
        projected = local @ intrinsics.T
        pixel = (projected[:, :2] / projected[:, 2:].clamp_min(1e-6)).floor().long()
        column, row = pixel[:, 0], pixel[:, 1]
        in_view = (local[:, 2] > 0) & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        inside &= in_view & solid[row.clamp(0, height - 1), column.clamp(0, width - 1)]
    mass = opacities * scales.sort(dim=1).values[:, 1:].prod(dim=1)
    total = mass.sum().item()
    return mass[~inside].sum().item() / total if total > 0 else 0.0
