"""What a viewer is sent: an object at the size and place that its cameras expect, as plain arrays."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gs3d.core.cameras import Cameras, distance_for, orbit
from gs3d.core.types import SH_C0, Mesh, Splats, TexturedMesh
from gs3d.io.mesh import write_mesh
from gs3d.ops.extent import center_of, reach_of
from gs3d.raster.reference import rotations
from gs3d.representations.asset import Asset

FOVY_DEG, FILL = 38.0, 0.95
ELEVATION_DEG = 15.0
"""As of the pictures that gs3d makes."""
PRESETS = {
    "front": (0, ELEVATION_DEG),
    "right": (270, ELEVATION_DEG),
    "back": (180, ELEVATION_DEG),
    "left": (90, ELEVATION_DEG),
}
PRESETS["above"] = (0, 89.9)
"""Azimuth and elevation; the object's own right and left. Straight down, nothing would say which way is up."""
UNITS = 32.0
"""A viewer keeps covariances in half precision, which is too coarse for thin splats in the unit sphere: it gets them so much larger."""
LARGEST = 100.0
"""Of a standard deviation, in those units; the square of a few times more would be infinite in half precision."""
USUAL_REACH = (0.25, 1.25)


@dataclass(frozen=True)
class Place:
    """Where an object is: (p − center) / radius is in the unit sphere, which cameras look at."""

    center: np.ndarray
    """[3]"""
    radius: float


WORLD = Place(np.zeros(3), 1.0)
"""Of what gs3d makes."""


@dataclass(frozen=True)
class Gaussians:
    """Splats as viser takes them, but for the covariances A·Aᵀ."""

    centers: np.ndarray
    """[N, 3] float32."""
    axes: np.ndarray
    """A [N, 3, 3] float32, a column an axis."""
    rgbs: np.ndarray
    """[N, 3] uint8."""
    opacities: np.ndarray
    """[N, 1] float32 in [0, 1]."""


def place_of(asset: Asset) -> Place:
    """The world for what fills the unit sphere about as gs3d's objects do; else where it is, but for a few strays."""
    points = asset.means if isinstance(asset, Splats) else torch.from_numpy(asset.vertices)
    if USUAL_REACH[0] <= reach_of(points) <= USUAL_REACH[1]:
        return WORLD
    center = center_of(points)
    wide = 2 * float(asset.scales.amax(1).median()) if isinstance(asset, Splats) else 0.0
    return Place(center, max(reach_of(points, center) + wide, 1e-9))


@torch.no_grad()
def gaussians_of(splats: Splats, place: Place) -> Gaussians:
    """`splats` in `UNITS` about `place`. Their colors are those of degree 0: viser knows one color for all views."""
    factor = UNITS / place.radius
    means = (splats.means.cpu() - torch.from_numpy(place.center).float()) * factor
    scales = (splats.scales.cpu() * factor).clamp(max=LARGEST)
    colors = 0.5 + SH_C0 * splats.sh[:, 0].cpu()
    return Gaussians(
        means.numpy(),
        (rotations(splats.quats.cpu()) * scales[:, None]).numpy(),
        _bytes(colors.numpy()),
        splats.opacities.cpu()[:, None].numpy(),
    )


def sent(gaussians: Gaussians, opacity: float, size: float) -> dict[str, np.ndarray]:
    """Arguments of viser, with every splat so many times as opaque and as large."""
    axes = gaussians.axes * np.float32(size)
    return {
        "centers": gaussians.centers,
        "covariances": axes @ axes.swapaxes(1, 2),
        "rgbs": gaussians.rgbs,
        "opacities": _bytes(gaussians.opacities * np.float32(opacity)),
    }


def _bytes(values: np.ndarray) -> np.ndarray:
    return (255 * np.clip(values, 0, 1) + 0.5).astype(np.uint8)


def glb_of(mesh: Mesh | TexturedMesh) -> bytes:
    """A .glb file of `mesh`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.glb"
        write_mesh(path, mesh)
        return path.read_bytes()


def camera(azimuth_deg: float, elevation_deg: float, width: int = 1, height: int = 1) -> Cameras:
    """One that looks at the unit sphere."""
    fovy, *angles = (
        torch.tensor([math.radians(a)]) for a in (FOVY_DEG, azimuth_deg, elevation_deg)
    )
    return orbit(*angles, distance_for(fovy, FILL), fovy, width, height)


def position_of(preset: str) -> np.ndarray:
    """[3], where the camera of one of PRESETS is."""
    return camera(*PRESETS[preset]).centers[0].double().numpy()
