"""Conversion of assets to the arrays that the viewer sends: scaled and placed for its cameras."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from gs3d.core.cameras import Cameras, distance_for, orbit
from gs3d.core.types import SH_C0, Mesh, Splats, TexturedMesh
from gs3d.io.mesh import write_mesh
from gs3d.ops.place import Place
from gs3d.raster.reference import rotations

FOVY_DEG, FILL = 38.0, 0.95
ELEVATION_DEG = 15.0
"""Cameras as for gs3d's own renders."""
PRESETS = {
    "front": (0, ELEVATION_DEG),
    "right": (270, ELEVATION_DEG),
    "back": (180, ELEVATION_DEG),
    "left": (90, ELEVATION_DEG),
}
"""Azimuth and elevation in degrees. Right and left are the object's own."""
INSIDE_FOVY_DEG, INSIDE_ELEVATION_DEG = 60.0, -5.0
"""As for gs3d's own renders of scenes."""
NEAR = 0.05
"""Distance of the point that a camera inside a scene looks at, in world units."""
# Not exactly from above, where the up direction of the camera is undefined.
PRESETS["above"] = (0, 89.9)
UNITS = 32.0
"""Scale of the splats that are sent to the browser, for an object in the unit sphere.

The viewer keeps covariances in half precision, which is too coarse for thin splats at scale 1."""
MAX_SCALE = 100.0
"""Largest standard deviation sent, in those units. In half precision, the square of a value a few
times larger would be infinite."""


@dataclass(frozen=True)
class Gaussians:
    """Splats in viser's layout, with A instead of the covariances A·Aᵀ."""

    centers: np.ndarray
    """[N, 3] float32."""
    axes: np.ndarray
    """A, [N, 3, 3] float32, with an axis per column."""
    rgbs: np.ndarray
    """[N, 3] uint8."""
    opacities: np.ndarray
    """[N, 1] float32 in [0, 1]."""


@torch.no_grad()
def gaussians_of(splats: Splats, place: Place) -> Gaussians:
    """Convert `splats` to viser's layout, in `UNITS` about `place`.

    Colors are those of degree 0, because viser has one color per splat for all views.
    """
    factor = UNITS / place.radius
    means = (splats.means.cpu() - torch.from_numpy(place.center).float()) * factor
    scales = (splats.scales.cpu() * factor).clamp(max=MAX_SCALE)
    colors = 0.5 + SH_C0 * splats.sh[:, 0].cpu()
    return Gaussians(
        means.numpy(),
        (rotations(splats.quats.cpu()) * scales[:, None]).numpy(),
        _bytes(colors.numpy()),
        splats.opacities.cpu()[:, None].numpy(),
    )


class ViserArguments(TypedDict):
    """Arguments of viser's splat functions for N splats."""

    centers: np.ndarray
    """[N, 3] float32."""
    covariances: np.ndarray
    """[N, 3, 3] float32."""
    rgbs: np.ndarray
    """[N, 3] uint8."""
    opacities: np.ndarray
    """[N, 1] uint8."""


def viser_arguments(gaussians: Gaussians, opacity: float, size: float) -> ViserArguments:
    """Arguments of viser's splat functions, with opacities and sizes scaled by these factors."""
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
    """`mesh` as the content of a .glb file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.glb"
        write_mesh(path, mesh)
        return path.read_bytes()


def camera(azimuth_deg: float, elevation_deg: float, width: int = 1, height: int = 1) -> Cameras:
    """A single camera that looks at the unit sphere; `width` and `height` in pixels."""
    fovy, azimuth, elevation = (
        torch.tensor([math.radians(a)]) for a in (FOVY_DEG, azimuth_deg, elevation_deg)
    )
    return orbit(azimuth, elevation, distance_for(fovy, FILL), fovy, width, height)


def viewpoint(preset: str, inside: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Position [3] of the camera of one of PRESETS, and the point [3] that it looks at.

    `inside`, it stands at the origin and looks out in the direction that the preset names, at a
    point so near that a drag of the mouse turns it on the spot.
    """
    if not inside:
        return camera(*PRESETS[preset]).centers[0].double().numpy(), np.zeros(3)
    azimuth, elevation = (math.radians(angle) for angle in PRESETS[preset])
    elevation = elevation if preset == "above" else math.radians(INSIDE_ELEVATION_DEG)
    ahead = math.cos(elevation) * np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    ahead[2] = math.sin(elevation)
    return np.zeros(3), NEAR * ahead
