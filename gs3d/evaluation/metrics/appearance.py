"""How colorful and how bright pictures of an object are: distilled objects drift towards garish or pale ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

INSIDE = 0.9
"""Alpha from which a pixel shows the object alone."""


@dataclass(frozen=True)
class Appearance:
    """Means over the pixels that show the object, as HSV has them, in [0, 1]."""

    saturation: float
    brightness: float

    @staticmethod
    def mean(appearances: Sequence["Appearance"]) -> "Appearance":
        return Appearance(
            sum(x.saturation for x in appearances) / len(appearances),
            sum(x.brightness for x in appearances) / len(appearances),
        )


def appearance_of(rgb: Tensor, alpha: Tensor) -> Appearance | None:
    """Of pictures [B, H, W, 3] whose color, where alpha [B, H, W] says that they show the object, is the object's; None if none does."""
    seen = rgb[alpha >= INSIDE].clamp(0, 1)
    if not len(seen):
        return None
    high, low = seen.max(-1).values, seen.min(-1).values
    saturation = torch.where(high > 0, (high - low) / high.clamp_min(1e-9), torch.zeros(()))
    return Appearance(saturation.mean().item(), high.mean().item())
