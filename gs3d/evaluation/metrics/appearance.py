"""Color saturation and brightness of rendered objects: distillation biases both up or down."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

OPAQUE_ALPHA = 0.9
"""Least alpha of a pixel that shows only the object and no background."""


@dataclass(frozen=True)
class Appearance:
    """Mean HSV saturation and value of the pixels that show the object, each in [0, 1]."""

    saturation: float
    brightness: float

    @staticmethod
    def mean(appearances: Sequence["Appearance"]) -> "Appearance":
        """Return the mean of one or more appearances."""
        return Appearance(
            sum(x.saturation for x in appearances) / len(appearances),
            sum(x.brightness for x in appearances) / len(appearances),
        )


def appearance_of(rgb: Tensor, alpha: Tensor) -> Appearance | None:
    """Measure the appearance in images [B, H, W, 3] over the pixels with alpha of at least 0.9.

    `alpha` is [B, H, W]. Returns None if there is no such pixel.
    """
    seen = rgb[alpha >= OPAQUE_ALPHA].clamp(0, 1)
    if not len(seen):
        return None
    high, low = seen.max(-1).values, seen.min(-1).values
    saturation = torch.where(high > 0, (high - low) / high.clamp_min(1e-9), torch.zeros(()))
    return Appearance(saturation.mean().item(), high.mean().item())
