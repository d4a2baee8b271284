"""Settings of a DMTet surface: grid, color field, learning rates and regularizers."""

from dataclasses import dataclass, field

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.representations.nerf.field import FieldConfig


@dataclass(frozen=True)
class DmtetRegularizers:
    """Weights of the smoothness regularizers of a surface; each term is a mean."""

    consistency: Ramp = Ramp(0.0, 0.0)
    """Weight of 1 − n·n′ for the normals of the two triangles at an edge, weighted by edge
    length."""
    laplacian: Ramp = Ramp(0.0, 0.0)
    """Weight of the squared distance, in grid spacings, between a vertex and the mean of its
    neighbors."""

    def __post_init__(self) -> None:
        for name in ("consistency", "laplacian"):
            within(name, getattr(self, name).ends, "[0, inf)")


@dataclass(frozen=True)
class DmtetConfig:
    """The tetrahedral grid, the color field, and how both are optimized."""

    resolution: int = 64
    """Grid resolution: cubes along an edge of the domain [−1, 1]³."""
    max_offset: float = 0.45
    """Maximum displacement of a grid vertex along each axis, in grid spacings."""
    field: FieldConfig = field(default_factory=FieldConfig)
    """Settings of the color field; all its levels are open. A surface that is initialized from a
    radiance field uses the settings of that field instead."""
    regularizers: DmtetRegularizers = DmtetRegularizers()
    distance_rate: Ramp = Ramp(0.15, 0.02, "exp")
    """Adam's rate for the signed distances, in grid spacings."""
    offset_rate: Ramp = Ramp(2e-2, 5e-3, "exp")
    """Adam's rate for the offsets of the grid's vertices, before tanh limits them."""
    table_rate: Ramp = Ramp(1e-2, 1e-3, "exp")
    """Adam's rate for the hash tables of the color field."""
    network_rate: Ramp = Ramp(1e-3, 1e-4, "exp")
    """Adam's rate for its network."""

    def __post_init__(self) -> None:
        within("resolution", self.resolution, "[2, 256]")
        within("max_offset", self.max_offset, "[0, 0.5)")
        for name in ("distance_rate", "offset_rate", "table_rate", "network_rate"):
            within(name, getattr(self, name).ends, "[0, inf)")
