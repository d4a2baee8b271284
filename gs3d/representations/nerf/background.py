"""A learned background: a color per direction, as in Magic3D and Mip-NeRF 360."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from gs3d.representations.nerf.field import linear

if TYPE_CHECKING:
    from jaxtyping import Float

OCTAVES, HIDDEN = 3, 32


class BackgroundNetwork(nn.Module):
    """A small network of the direction: initially gray, and too smooth to represent the object."""

    def __init__(self, gen: torch.Generator):
        super().__init__()
        self.first, self.last = linear(3 + 6 * OCTAVES, HIDDEN, gen), linear(HIDDEN, 3, gen)
        with torch.no_grad():
            self.last.weight.zero_()

    def forward(self, directions: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
        """Map unit directions to colors in [0, 1]."""
        angles = torch.cat([2**octave * directions for octave in range(OCTAVES)], -1)
        waves = torch.cat([directions, angles.sin(), angles.cos()], -1)
        return self.last(functional.relu(self.first(waves))).sigmoid()
