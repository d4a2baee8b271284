"""Where an asset lies and how large it is, and the asset moved into the view of usual cameras.

The usual cameras look at the unit sphere about the origin, where gs3d generates objects. Those are
shown as they are, so that pictures of them show their size. Every other asset is framed by its own
center and size, wherever it lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, Splats, TexturedMesh
from gs3d.ops.extent import center_of, reach_of, without_strays

if TYPE_CHECKING:
    from jaxtyping import Float64

AnyMesh = TypeVar("AnyMesh", bound=Mesh | TexturedMesh)
USUAL_REACH = (0.4, 1.25)
"""Radius about the origin of assets that are shown in world coordinates. That of gs3d's own objects
is 0.5 or more."""
USUAL_OFFSET = 0.3
"""Largest distance of their center from the origin, in their own radii; below 0.2 for gs3d's."""


@dataclass(frozen=True)
class Place:
    """Position and size of an object: (p − center) / radius lies in the unit sphere.

    The usual cameras look at the unit sphere."""

    center: Float64[np.ndarray, " 3"]
    """In world units."""
    radius: float


WORLD = Place(np.zeros(3), 1.0)
"""The place of assets that gs3d generates."""


def place_of(asset: Splats | Mesh | TexturedMesh) -> Place:
    """WORLD if the asset fills the unit sphere about as gs3d's own assets do, else its own place.

    Splats that lie far beyond the rest do not count if they are few (`without_strays`). Vertices
    of a mesh do: triangles lead to them.
    """
    is_splats = isinstance(asset, Splats)
    points = without_strays(asset.means) if is_splats else torch.from_numpy(asset.vertices)
    center = center_of(points)
    radius = reach_of(points, center)
    low, high = USUAL_REACH
    if low <= reach_of(points) <= high and np.linalg.norm(center) <= USUAL_OFFSET * radius:
        return WORLD
    margin = 2 * float(asset.scales.amax(1).median()) if is_splats else 0.0
    return Place(center, max(radius + margin, 1e-30))


def framed(asset: Splats | Mesh | TexturedMesh) -> Splats | Mesh | TexturedMesh:
    """The asset moved and scaled so that its place is the unit sphere; itself if it is there."""
    place = place_of(asset)
    if place is WORLD:
        return asset
    if isinstance(asset, Splats):
        center = torch.from_numpy(place.center).to(asset.means.device)
        means = ((asset.means.double() - center) / place.radius).float()
        scales = (asset.scales.double() / place.radius).float()
        return replace(asset, means=means, scales=scales)
    vertices = ((asset.vertices - place.center) / place.radius).astype(np.float32)
    return replace(asset, vertices=vertices)


def unframed(splats: Splats, place: Place) -> Splats:
    """Splats in the unit sphere moved and scaled to `place`: what `framed` has undone."""
    center = torch.from_numpy(place.center).to(splats.means.device)
    means = (splats.means.double() * place.radius + center).float()
    return replace(splats, means=means, scales=splats.scales * place.radius)


def standing(mesh: AnyMesh, height: float) -> AnyMesh:
    """The mesh scaled to `height` along +Z, with the middle of its base at the origin.

    Raises:
        UserError: The mesh is flat along Z.
    """
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    if not high[2] > low[2]:
        raise UserError("--height: the mesh is flat, so no scale gives it a height")
    base = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    vertices = (mesh.vertices - base) * (height / (high[2] - low[2]))
    return replace(mesh, vertices=vertices.astype(np.float32))
