"""An occupancy grid, which lets rays skip empty space (Müller et al. 2022, App. C)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core.runtime.transfer import moved

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

DECAY = 0.95
"""Factor on the stored densities in each update."""
MAX_STORED = 2.0
"""Upper bound of the stored densities, as a multiple of the occupancy threshold. A dense voxel that
becomes empty is therefore unoccupied after fourteen updates."""


class Occupancy:
    """Densities of the G³ voxels of the cube [−1, 1]³, and which voxels are occupied."""

    def __init__(self, resolution: int, device: str = "cpu"):
        self.resolution = resolution
        self.density = torch.zeros(resolution**3, device=device)
        self.occupied = torch.ones(resolution**3, dtype=torch.bool, device=device)
        """[G³] bool. All voxels are occupied until the first update. Assign it, do not change it in
        place."""
        self._counted: tuple[Tensor, int] | None = None

    def count(self) -> int:
        """Return the number of occupied voxels. A GPU is asked once after each update."""
        if self._counted is None or self._counted[0] is not self.occupied:
            self._counted = self.occupied, int(self.occupied.sum())
        return self._counted[1]

    def points(self, gen: torch.Generator) -> Float[Tensor, "voxels 3"]:
        """Return one random point in each voxel."""
        axis = torch.arange(self.resolution)
        corners = torch.cartesian_prod(axis, axis, axis)
        points = 2 * (corners + torch.rand(corners.shape, generator=gen)) / self.resolution - 1
        return moved(points, self.density.device)

    def update(self, density: Float[Tensor, " voxels"], threshold: float) -> None:
        """Update the grid with the densities at `points`.

        A voxel is occupied if its density reaches `threshold`, or the mean of the grid if that is
        lower.
        """
        self.density = torch.maximum(
            DECAY * self.density, density.clamp_max(MAX_STORED * threshold)
        )
        mean = self.density.mean()
        self.occupied = self.density >= torch.fmin(mean, torch.full_like(mean, threshold))

    def at(self, points: Float[Tensor, "... 3"]) -> Bool[Tensor, " ..."]:
        """Return which points lie in occupied voxels. Points outside the cube do not."""
        index = ((points + 1) * (0.5 * self.resolution)).floor().long()
        inside = ((index >= 0) & (index < self.resolution)).all(-1)
        x, y, z = index.clamp(0, self.resolution - 1).unbind(-1)
        return inside & self.occupied[(x * self.resolution + y) * self.resolution + z]
