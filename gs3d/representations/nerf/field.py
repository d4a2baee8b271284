"""Density, normal and color at points, from a hash grid and two small networks.

Müller et al. 2022 (Instant-NGP); Poole et al. 2022 (DreamFusion), App. A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from gs3d.core.checks import within
from gs3d.representations.nerf.hashgrid import FEATURES, HashGridConfig, encode, new_table

if TYPE_CHECKING:
    from jaxtyping import Float

LOGIT_MAX = 8.0
"""Log density above which density grows linearly instead of exponentially. A field of that density
is opaque already."""


@dataclass(frozen=True)
class FieldConfig:
    """Sizes of a field, its initial density, and when the levels of its grid open."""

    grid: HashGridConfig = HashGridConfig()
    hidden: int = 64
    """Units in the one hidden layer of each network."""
    blob_strength: float = 5.0
    """Initial log density at the origin. It decreases linearly with the distance, as in Magic3D."""
    blob_radius: float = 0.5
    """Distance at which the initial density is 1."""
    levels_at_start: int = 4
    """Grid levels that are open at the start; the others open one by one (coarse to fine)."""
    levels_open: float = 0.5
    """Progress at which all levels are open."""

    def __post_init__(self) -> None:
        within("hidden", self.hidden, "[1, inf)")
        within("blob_strength", self.blob_strength, "[0, 8]")
        within("blob_radius", self.blob_radius, "(0, inf)")
        within("levels_at_start", self.levels_at_start, "[1, inf)")
        within("levels_open", self.levels_open, "[0, 1]")

    def levels(self, progress: float) -> int:
        """Return the number of open levels."""
        first = min(self.levels_at_start, self.grid.levels)
        share = 1.0 if self.levels_open == 0 else min(progress / self.levels_open, 1.0)
        return first + int(share * (self.grid.levels - first) + 1e-9)


@dataclass(frozen=True)
class FieldSample:
    """The values of a field at N points."""

    density: Float[Tensor, " N"]
    """Per unit of length."""
    normal: Float[Tensor, "N 3"] | None
    """Unit vectors against the gradient of the density; None unless requested."""
    albedo: Float[Tensor, "N 3"] | None
    """In [0, 1], sRGB; None unless requested."""


class Field(nn.Module):
    """A hash grid (`table`) and two networks on its features: one for density, one for color."""

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
        self,
        points: Float[Tensor, "N 3"],
        progress: float,
        normals: bool = False,
        colors: bool = True,
    ) -> FieldSample:
        """Evaluate the field at world points in [−1, 1]³.

        The result is differentiable in the parameters, not in the points.
        """
        c = self.config
        features, derivatives = encode(
            0.5 * (points + 1), self.table, c.grid, normals, c.levels(progress)
        )
        hidden = self.density_in(features)
        distance = points.norm(dim=1)
        # Subtracting softplus(0) = log 2 makes a table near zero contribute almost nothing to the
        # initial density.
        logit = self.density_out(functional.softplus(hidden) - math.log(2))[
            :, 0
        ] + c.blob_strength * (1 - distance / c.blob_radius)
        normal = None
        if normals:
            # The chain rule in closed form; the derivative of softplus is the sigmoid.
            by_feature = (torch.sigmoid(hidden) * self.density_out.weight) @ self.density_in.weight
            gradient = 0.5 * torch.einsum("naf,nf->na", derivatives, by_feature)
            gradient = (
                gradient
                - c.blob_strength / c.blob_radius * points / distance.clamp_min(1e-6)[:, None]
            )
            normal = functional.normalize(-gradient, dim=1)
        return FieldSample(density_of(logit), normal, self._color(features) if colors else None)

    def albedo(self, points: Float[Tensor, "N 3"], progress: float = 1.0) -> Float[Tensor, "N 3"]:
        """Return only the colors of `forward`, for surfaces with a geometry of their own."""
        features, _ = encode(
            0.5 * (points + 1), self.table, self.config.grid, False, self.config.levels(progress)
        )
        return self._color(features)

    def _color(self, features: Tensor) -> Tensor:
        return self.color_out(functional.relu(self.color_in(features))).sigmoid()


def density_of(logit: Tensor) -> Tensor:
    """Return e^logit, continued by its tangent above LOGIT_MAX.

    Neither the value nor its gradient can overflow.
    """
    below = logit.clamp_max(LOGIT_MAX).exp()
    return torch.where(logit < LOGIT_MAX, below, math.exp(LOGIT_MAX) * (1 + logit - LOGIT_MAX))


def linear(inputs: int, outputs: int, gen: torch.Generator) -> nn.Linear:
    """Return a linear layer with weights uniform in ±√(6 / inputs) (He et al. 2015) and zero bias.

    The weights are drawn from `gen`, not from the global generator.
    """
    layer = cast("nn.Linear", nn.utils.skip_init(nn.Linear, inputs, outputs))
    with torch.no_grad():
        bound = math.sqrt(6 / inputs)
        layer.weight.copy_((2 * torch.rand(outputs, inputs, generator=gen) - 1) * bound)
        layer.bias.zero_()
    return layer
