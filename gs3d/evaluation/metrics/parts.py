"""What small parts and minor colors of the reference an object has."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gs3d.evaluation.metrics.appearance import OPAQUE_ALPHA
from gs3d.evaluation.metrics.geometry import Surface, distance
from gs3d.world.colors import NAMED

MINOR_SHARES = 0.005, 0.25
"""Range of the share of the visible surface that a minor color has, on average."""
USUAL = 0.75
"""Least share of the reference objects that show a minor color."""
LIGHTNESS_WEIGHT = 0.5
"""Shading changes lightness, so it counts half when a pixel's color is named."""
SMALL_SHARES = 0.003, 0.1
"""Range of the share of the surface points that a small part has."""
NEAR = 0.12
"""Greatest distance to a point that the object has too, in root mean square radii. Points of one
surface are about 0.08 apart."""


def oklab(rgb: Tensor) -> Tensor:
    """Convert sRGB [..., 3] in [0, 1] to Oklab (Ottosson 2020)."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = linear @ torch.tensor(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return cones.clamp_min(0) ** (1 / 3) @ torch.tensor(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


def color_shares(rgb: Tensor, alpha: Tensor) -> Tensor:
    """Share of each color of `NAMED`, in its order, in images [B, H, W, 3] with alpha [B, H, W].

    Each opaque pixel counts for the nearest color. Without opaque pixels, all shares are 0.
    """
    weight = torch.tensor([LIGHTNESS_WEIGHT, 1.0, 1.0])
    names = oklab(torch.tensor(list(NAMED.values()))) * weight
    pixels = oklab(rgb[alpha >= OPAQUE_ALPHA].clamp(0, 1)) * weight
    nearest = torch.cdist(pixels, names).argmin(1)
    return torch.bincount(nearest, minlength=len(names)) / max(len(pixels), 1)


def minor_color_recall(shares: Tensor, references: Sequence[Tensor]) -> float | None:
    """Mean over the minor colors of the references of how much of each is there, in [0, 1].

    `shares` and each of `references` are `color_shares`. A color that covers as much as on the
    references on average, or more, counts as 1. None if the references have no minor color.
    """
    table = torch.stack(list(references))
    mean, seen = table.mean(0), (table >= 0.5 * MINOR_SHARES[0]).float().mean(0)
    minor = (mean >= MINOR_SHARES[0]) & (mean <= MINOR_SHARES[1]) & (seen >= USUAL)
    return (shares[minor] / mean[minor]).clamp(max=1).mean().item() if minor.any() else None


def small_part_recall(surface: Surface, references: Sequence[Surface]) -> float | None:
    """Mean over the small parts of the nearest reference of the share of points that `surface` has.

    The nearest is that with the least Chamfer distance. None if it has no small part. An empty
    `surface` has none of the parts.
    """
    measured = [(d.chamfer, i) for i, r in enumerate(references) if (d := distance(surface, r))]
    if not measured:
        return 0.0 if references and not len(surface.points) else None
    nearest = references[min(measured)[1]]
    if nearest.parts is None:
        return None
    there = torch.cdist(nearest.points, surface.points).min(1).values <= NEAR
    counts = torch.bincount(nearest.parts)
    shares = counts / counts.sum()
    small = (shares >= SMALL_SHARES[0]) & (shares <= SMALL_SHARES[1])
    found = torch.bincount(nearest.parts, weights=there.float(), minlength=len(counts))
    return (found[small] / counts[small]).mean().item() if small.any() else None
