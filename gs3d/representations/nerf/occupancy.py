"""Where a field is not empty, kept on a coarse grid, so that only samples that may matter are computed (Müller et al. 2022, App. C)."""

import torch
from torch import Tensor

DECAY = 0.95
"""Of what is remembered, at each look."""
MOST = 2.0
"""Times the faintest density that counts; more is not remembered, so that a dense cell that empties is forgotten in fourteen looks."""


class Occupancy:
    """[G, G, G] densities over the cube from −1 to 1, and which cells count."""

    def __init__(self, resolution: int, device: str = "cpu"):
        self.resolution = resolution
        self.density = torch.zeros(resolution**3, device=device)
        self.occupied = torch.ones(resolution**3, dtype=torch.bool, device=device)
        """All of it until the first look."""

    def points(self, gen: torch.Generator) -> Tensor:
        """[G³, 3]: a random point of each cell."""
        axis = torch.arange(self.resolution)
        corners = torch.cartesian_prod(axis, axis, axis)
        return (2 * (corners + torch.rand(corners.shape, generator=gen)) / self.resolution - 1).to(
            self.density.device
        )

    def render_views(self, density: Tensor, faintest: float) -> None:
        """Take in the densities [G³] at `points`. A cell counts from `faintest` on, or from the mean where that is less."""
        self.density = torch.maximum(DECAY * self.density, density.clamp_max(MOST * faintest))
        self.occupied = self.density >= min(faintest, float(self.density.mean()))

    def at(self, points: Tensor) -> Tensor:
        """points [..., 3] → [...] bool; false outside the cube."""
        index = ((points + 1) * (0.5 * self.resolution)).floor().long()
        inside = ((index >= 0) & (index < self.resolution)).all(-1)
        x, y, z = index.clamp(0, self.resolution - 1).unbind(-1)
        return inside & self.occupied[(x * self.resolution + y) * self.resolution + z]
