"""What the splats of a scene start as: a floor, a shell around the eye, and a far sky."""

import math

import torch
from torch import Tensor

from gs3d.core.views.inside import EYE_HEIGHT
from gs3d.representations.gaussians.config import GaussianConfig

FLOOR_SHARE, SKY_SHARE = 0.25, 0.25
"""Shares of the splats; the rest is the shell."""
SOLID = 0.9
"""Opacity of floor and sky, so that nothing is seen through them."""
GOLDEN_RAD = math.pi * (3 - math.sqrt(5))
"""Turn from one point to the next of a spiral whose points are evenly spread."""


def surroundings(config: GaussianConfig, gen: torch.Generator) -> dict[str, Tensor]:
    """Return the parameters of `config.count` gray splats, as `Gaussians.params` has them.

    The floor is a disk below the origin, denser in its middle; the shell the part of a sphere of
    `config.radius` above it; the sky the upper half, and a little more, of a sphere of
    `config.sky_radius`. Splats are flat and as wide as their distance from each other, so that
    they leave no holes.
    """
    floor_count, sky_count = (int(share * config.count) for share in (FLOOR_SHARE, SKY_SHARE))
    shell_count = config.count - floor_count - sky_count
    shell, shell_size = _dome(shell_count, config.radius, -EYE_HEIGHT / config.radius)
    sky, sky_size = _dome(sky_count, config.sky_radius, -0.1)
    floor, floor_size = _disk(floor_count, config.sky_radius)
    means = torch.cat([floor, shell, sky])
    opacity = torch.full((config.count,), SOLID)
    opacity[floor_count : floor_count + shell_count] = config.opacity
    n = config.count
    normal = torch.nn.functional.normalize(means, dim=1)
    normal[:floor_count] = torch.tensor([0.0, 0.0, 1.0])
    sizes = torch.cat([floor_size, shell_size, sky_size])[:, None] * torch.tensor([1, 1, 0.2])
    return {
        "means": means,
        "scales": sizes.log(),
        "quats": _from_z_to(normal),
        "opacities": torch.logit(opacity),
        "sh0": 0.2 * torch.randn(n, 1, 3, generator=gen),
        "shN": torch.zeros(n, (config.sh_degree + 1) ** 2 - 1, 3),
    }


def _dome(count: int, radius: float, lowest: float) -> tuple[Tensor, Tensor]:
    """Points [n, 3] on a sphere above the height `lowest`, in radii, and the size of each [n]."""
    lowest = max(lowest, -1.0)
    number = torch.arange(count)
    z = lowest + (1 - lowest) * (number + 0.5) / max(count, 1)
    turn = GOLDEN_RAD * number
    around = (1 - z * z).clamp_min(0).sqrt()
    points = radius * torch.stack([around * turn.cos(), around * turn.sin(), z], dim=1)
    area = 2 * math.pi * radius**2 * (1 - lowest)
    return points, torch.full((count,), 0.7 * math.sqrt(area / max(count, 1)))


def _disk(count: int, radius: float) -> tuple[Tensor, Tensor]:
    """Points [n, 3] on the floor out to `radius`, and the size of each [n].

    Seen from the eye, they are about equally dense everywhere: a point at distance r stands for an
    area that grows with r² + EYE_HEIGHT².
    """
    number = torch.arange(count)
    growth = math.log1p((radius / EYE_HEIGHT) ** 2)
    squared = torch.expm1(growth * (number + 0.5) / max(count, 1))
    far, turn = EYE_HEIGHT * squared.sqrt(), GOLDEN_RAD * number
    points = torch.stack(
        [far * turn.cos(), far * turn.sin(), torch.full_like(far, -EYE_HEIGHT)], dim=1
    )
    area = math.pi * growth * EYE_HEIGHT**2 * (1 + squared) / max(count, 1)
    return points, 0.7 * area.sqrt()


def _from_z_to(direction: Tensor) -> Tensor:
    """Quaternions wxyz [n, 4] that turn +z to unit vectors [n, 3]."""
    x, y, z = direction.unbind(dim=1)
    turned = torch.stack([1 + z, -y, x, torch.zeros_like(x)], dim=1)
    # Straight down there is no shortest turn: half a turn about x.
    flipped = torch.tensor([0.0, 1.0, 0.0, 0.0]).expand_as(turned)
    return torch.nn.functional.normalize(
        torch.where((z < -0.9999)[:, None], flipped, turned), dim=1
    )
