"""Density, normal and color at a point: a hash grid and two small networks (Müller et al. 2022; Poole et al. 2022, App. A)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gs3d.core.checks import within
from gs3d.representations.nerf.hashgrid import FEATURES, HashGridConfig, encode, new_table

LOGIT_MAX = 8.0
"""Of a density: beyond, where nothing shines through any more, it grows in a line and no longer by e."""


@dataclass(frozen=True)
class FieldConfig:
    """Sizes of a field and how it begins."""

    grid: HashGridConfig = HashGridConfig()
    hidden: int = 64
    """Units in the one hidden layer of each network."""
    blob_strength: float = 5.0
    """Logarithm of the density that the start has at the origin; it falls in a line with the distance (Magic3D's blob)."""
    blob_radius: float = 0.5
    """Distance at which the start's density has fallen to 1."""
    levels_at_start: int = 4
    """Levels of the grid that are open from the beginning; the others open one by one (progressive bands)."""
    levels_open: float = 0.5
    """Progress at which all are open."""

    def __post_init__(self) -> None:
        within("hidden", self.hidden, "[1, inf)")
        within("blob_strength", self.blob_strength, "[0, 8]")
        within("blob_radius", self.blob_radius, "(0, inf)")
        within("levels_at_start", self.levels_at_start, "[1, inf)")
        within("levels_open", self.levels_open, "[0, 1]")

    def levels(self, progress: float) -> int:
        """How many levels are open."""
        first = min(self.levels_at_start, self.grid.levels)
        share = 1.0 if self.levels_open == 0 else min(progress / self.levels_open, 1.0)
        return first + int(share * (self.grid.levels - first) + 1e-9)


@dataclass(frozen=True)
class FieldSample:
    """What a field says of N points."""

    density: Tensor
    """[N], per unit of length."""
    normal: Tensor | None
    """[N, 3] of unit length, down the slope of the density; None unless asked for."""
    albedo: Tensor | None
    """[N, 3] in [0, 1], sRGB; None unless asked for."""


class Field(nn.Module):
    """Parameters: `table`, the hash grid, and two networks on its features, one for density and one for color."""

    def __init__(self, config: FieldConfig, gen: torch.Generator):
        super().__init__()
        self.config = config
        width = FEATURES * config.grid.levels
        self.table = nn.Parameter(new_table(config.grid, gen))
        self.density_in, self.density_out = (
            linear(width, config.hidden, gen),
            linear(config.hidden, 1, gen),
        )
        self.color_in, self.color_out = (
            linear(width, config.hidden, gen),
            linear(config.hidden, 3, gen),
        )

    def forward(
        self, points: Tensor, progress: float, normals: bool = False, colors: bool = True
    ) -> FieldSample:
        """points [N, 3] of the world, in the cube from −1 to 1. Gradients go to the parameters, not to the points."""
        c = self.config
        features, slopes = encode(
            0.5 * (points + 1), self.table, c.grid, normals, c.levels(progress)
        )
        hidden = self.density_in(features)
        distance = points.norm(dim=1)
        # Less what softplus has at zero, so that a table of hardly anything adds hardly anything to the blob.
        logit = self.density_out(functional.softplus(hidden) - math.log(2))[
            :, 0
        ] + c.blob_strength * (1 - distance / c.blob_radius)
        normal = None
        if normals:
            # The chain of derivatives by hand: softplus has the sigmoid for its own.
            by_feature = (torch.sigmoid(hidden) * self.density_out.weight) @ self.density_in.weight
            slope = 0.5 * torch.einsum("naf,nf->na", slopes, by_feature)
            slope = (
                slope - c.blob_strength / c.blob_radius * points / distance.clamp_min(1e-6)[:, None]
            )
            normal = functional.normalize(-slope, dim=1)
        return FieldSample(density_of(logit), normal, self._color(features) if colors else None)

    def albedo(self, points: Tensor, progress: float = 1.0) -> Tensor:
        """The colors [N, 3] of `forward` alone, for surfaces that come from elsewhere."""
        features, _ = encode(
            0.5 * (points + 1), self.table, self.config.grid, False, self.config.levels(progress)
        )
        return self._color(features)

    def _color(self, features: Tensor) -> Tensor:
        return self.color_out(functional.relu(self.color_in(features))).sigmoid()


def density_of(logit: Tensor) -> Tensor:
    """e^logit, continued by its tangent from LOGIT_MAX on, so that neither it nor its gradient can overflow."""
    below = logit.clamp_max(LOGIT_MAX).exp()
    return torch.where(logit < LOGIT_MAX, below, math.exp(LOGIT_MAX) * (1 + logit - LOGIT_MAX))


def linear(inputs: int, outputs: int, gen: torch.Generator) -> nn.Linear:
    """A layer with weights uniform within ±√(6 / inputs) (He et al. 2015) and no bias yet, from a generator of one's own."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    with torch.no_grad():
        bound = math.sqrt(6 / inputs)
        layer.weight.copy_((2 * torch.rand(outputs, inputs, generator=gen) - 1) * bound)
        layer.bias.zero_()
    return layer
