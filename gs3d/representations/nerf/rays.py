"""Sample rays in the unit sphere and compute the compositing weights of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core.cameras import Cameras
from gs3d.core.runtime.transfer import moved
from gs3d.representations.nerf.occupancy import Occupancy

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


@dataclass(frozen=True)
class RaySamples:
    """The samples of R rays, S per ray. M of them lie in occupied voxels."""

    points: Float[Tensor, "M 3"]
    """Positions of the samples in occupied voxels."""
    index: Int64[Tensor, " M"]
    """ray · S + number of the sample on the ray."""
    distances: Float[Tensor, "R S"]
    """Distances of all samples from the camera."""
    step: Float[Tensor, "R 1"]
    """Length of a ray segment; 0 for a ray that misses the sphere."""

    @property
    def ray(self) -> Int64[Tensor, " M"]:
        """The ray of each sample in an occupied voxel."""
        return self.index // self.distances.shape[1]


def intersect_unit_sphere(
    origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
    """Return the distances at which R rays enter and leave the unit sphere.

    Both are equal for a ray that misses the sphere or points away from it.
    """
    along = (origins * directions).sum(1)
    discriminant = along**2 - origins.square().sum(1) + 1
    half = discriminant.clamp_min(0).sqrt()
    near = (-along - half).clamp_min(0)
    return near, torch.maximum(-along + half, near)


def sample_rays(
    cameras: Cameras,
    directions: Float[Tensor, "B H W 3"],
    occupancy: Occupancy,
    count: int,
    gen: torch.Generator | None,
) -> RaySamples:
    """Sample `count` points on each of the B · H · W rays.

    Each of `count` equal segments inside the unit sphere has one sample: at a random position, or
    at its center without a generator.
    """
    size = directions.shape[1] * directions.shape[2]
    origins, directions = cameras.centers.repeat_interleave(size, 0), directions.flatten(0, 2)
    near, far = intersect_unit_sphere(origins, directions)
    step = (far - near)[:, None] / count
    position = (
        torch.full((1, count), 0.5) if gen is None else torch.rand(len(near), count, generator=gen)
    )
    distances = near[:, None] + step * (
        torch.arange(count, device=near.device) + moved(position, near.device)
    )
    points = origins[:, None] + distances[..., None] * directions[:, None]
    occupied = (occupancy.at(points) & (step > 0)).flatten()
    index = occupied.nonzero()[:, 0]
    return RaySamples(points.flatten(0, 1)[index], index, distances, step)


def compositing_weights(
    density: Float[Tensor, "R S"], step: Float[Tensor, "R 1"]
) -> Float[Tensor, "R S"]:
    """Return the weight of each sample: (1 − e^−σδ) · e^−Σσδ over the samples before it.

    R rays have S samples each (Mildenhall et al. 2020, Eq. 3).
    """
    thickness = density * step
    before = functional.pad(thickness.cumsum(1)[:, :-1], (1, 0))
    return -torch.expm1(-thickness) * torch.exp(-before)
