"""Detail in renders: fine structure, grain, edges and outlines.

All are measured in pixels of the graded renders, on the object only, and are meaningful beside the
same values of reference objects. Grain, which has the same frequencies as detail, is told from it
by where it is: detail is on few pixels, grain on all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

OPAQUE_ALPHA = 0.9
"""Least alpha of a pixel that shows only the object and no background."""
RADIUS = 3
"""Half the side of the windows below, in pixels. A pixel counts if its whole window is opaque, so
that the outline of the object does not."""
SIGMA = 1.5
"""Standard deviation of the blur that separates high from low frequencies, in pixels."""
LEAST_CONTRAST = 0.15
"""Least difference of luminance across an edge. Shading differs less within such a window."""
QUARTER = 0.25
GAUSSIAN_QUARTER = 0.3186
"""A quarter of standard normal values are nearer to 0."""
GRAIN_RANGE = 4.5
"""Expected range of 49 standard normal values, which is the contrast that grain has in a window."""
LUMINANCE = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Detail:
    """Detail of the renders of one object. A value is None where no pixel qualifies."""

    energy: float | None
    """Mean square of the high frequencies of the colors, minus that of the grain."""
    grain: float | None
    """Standard deviation of the grain: that of Gaussian noise of which as many values are as near
    to 0. It follows from the quarter of the pixels with the least high frequencies, so edges and
    patterns hardly change it."""
    sharpness: float | None
    """Mean slope of edges inside the object, relative to their contrast, per pixel."""
    rim: float | None
    """Width of the outline in pixels: how far alpha takes from 0 to 1."""

    @staticmethod
    def mean(details: Sequence["Detail"]) -> "Detail":
        """Return the mean of one or more, each value over those that have it."""
        means = {}
        for f in fields(Detail):
            values = [v for d in details if (v := getattr(d, f.name)) is not None]
            means[f.name] = sum(values) / len(values) if values else None
        return Detail(**means)


def detail_of(rgb: Tensor, alpha: Tensor) -> Detail:
    """Measure the detail in images [B, H, W, 3] in [0, 1] with alpha [B, H, W]."""
    inside = -_largest(-alpha) >= OPAQUE_ALPHA
    images = rgb.clamp(0, 1).movedim(-1, 1)
    high = (images - _blurred(images)).movedim(1, -1)[inside]
    grain = _quantile(high.abs().flatten(), QUARTER) / GAUSSIAN_QUARTER if len(high) else None
    energy = None if grain is None else max(high.square().mean().item() - grain**2, 0.0)
    sharpness = _sharpness(images, inside, grain or 0.0)
    return Detail(energy, grain, sharpness, _rim_width(alpha))


def _quantile(values: Tensor, share: float) -> float:
    return values.kthvalue(max(int(share * len(values)), 1)).values.item()


def _largest(maps: Tensor) -> Tensor:
    """Largest value in the window around each pixel of [B, H, W]."""
    return functional.max_pool2d(maps[:, None], 2 * RADIUS + 1, 1, RADIUS)[:, 0]


def _blurred(images: Tensor) -> Tensor:
    """Gaussian blur of [B, C, H, W], within the window of each pixel."""
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    count = images.shape[1]
    padded = functional.pad(images, (RADIUS,) * 4, mode="replicate")
    rows = functional.conv2d(padded, kernel.expand(count, 1, 1, -1), groups=count)
    return functional.conv2d(rows, kernel[:, None].expand(count, 1, -1, 1), groups=count)


def _sharpness(images: Tensor, inside: Tensor, grain: float) -> float | None:
    """Mean of slope ÷ contrast over the pixels on edges: the steepest of their windows."""
    luminance = (images * torch.tensor(LUMINANCE)[:, None, None]).sum(1)
    padded = functional.pad(luminance[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = 0.5 * (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2])
    down = 0.5 * (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1])
    slope = torch.hypot(across, down)
    contrast = _largest(luminance) + _largest(-luminance)
    edge = inside & (slope >= _largest(slope)) & (contrast >= LEAST_CONTRAST + GRAIN_RANGE * grain)
    return (slope[edge] / contrast[edge]).mean().item() if edge.any() else None


def _rim_width(alpha: Tensor) -> float | None:
    """Area of the outline ÷ its length, where the area is ∫ 6·α(1 − α), 1 per pixel of a ramp.

    The length is that of the border of the solid pixels, counted along both axes and diagonals
    (Crofton's formula).
    """
    solid = functional.pad((alpha >= 0.5).float(), (1, 1, 1, 1))
    length = 0.0
    for shift, weight in (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), 0.5**0.5), ((1, -1), 0.5**0.5)):
        moved = torch.roll(solid, shift, (1, 2))
        length += weight * (moved - solid).abs().sum().item()
    # Crofton: π/8 of the crossings, each family of lines weighted by its spacing.
    length *= torch.pi / 8
    # Half of a sharp border's pixels are covered in part, and only those of the outline count.
    near = _largest((alpha >= 0.5).float()) * _largest((alpha < 0.5).float())
    return (6 * alpha * (1 - alpha) * near).sum().item() / length if length else None
