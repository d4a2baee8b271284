"""Where an asset lies and how large it is, and the asset moved into the view of usual cameras."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from gs3d.core.types import Mesh, Splats, TexturedMesh
from gs3d.ops.extent import center_of, reach_of

if TYPE_CHECKING:
    from jaxtyping import Float64

USUAL_REACH = (0.25, 1.25)
"""Radius about the origin of assets that are shown in world coordinates."""


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

    The place ignores a few outliers.
    """
    points = asset.means if isinstance(asset, Splats) else torch.from_numpy(asset.vertices)
    if USUAL_REACH[0] <= reach_of(points) <= USUAL_REACH[1]:
        return WORLD
    center = center_of(points)
    margin = 2 * float(asset.scales.amax(1).median()) if isinstance(asset, Splats) else 0.0
    return Place(center, max(reach_of(points, center) + margin, 1e-30))


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
