"""From splats to a closed triangle mesh, colored or textured: depth maps fused, thinned out, and painted from the same views.

Whatever is seen of the splats counts, not what they are: 3,000 splats of any size or a million, ours or from another program.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from gs3d.core.cameras import Cameras, distance_for, orbit
from gs3d.core.checks import within
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.raster import rasterize
from gs3d.representations.meshing.simplify import smoothed, thinned, without_floaters
from gs3d.representations.meshing.texture import PaintedMesh

FOVY_DEG, FILL = 38.0, 0.95
LOWEST_DEG = -20.0
CHUNK = 4
"""Views rendered at a time."""
TRUNCATION_VOXELS = 3.0
"""How far from a surface a view still says where it is, in cells."""
DENSER, WIDER = 6, 1.6
"""For depth, every splat is there so many times, and so much wider."""
DOUBTS = 0.1
"""Share of the views that may see through a point which is inside all the same: splats leave pin-holes."""


@dataclass(frozen=True)
class Views:
    """Pictures of splats from all around, as numpy arrays."""

    cameras: Cameras
    rgb: np.ndarray
    """[V, S, S, 3] over black."""
    alpha: np.ndarray
    """[V, S, S]"""
    depth: np.ndarray
    """[V, S, S]"""

    @cached_property
    def geometry(self) -> tuple[np.ndarray, np.ndarray]:
        """World to camera [V, 4, 4] and focal lengths [V] in pixels."""
        return self.cameras.world_to_camera.double().numpy(), self.cameras.intrinsics[
            :, 0, 0
        ].double().numpy()


@dataclass(frozen=True)
class Frame:
    """Where an object is and how large: points p of the world are (p − center) / radius in the unit sphere."""

    center: np.ndarray
    radius: float

    @staticmethod
    def of(splats: Splats) -> "Frame":
        """About the splats that can be seen but for the farthest one in a thousand. `UserError` if there are none."""
        seen = (
            (splats.opacities > 0.1)
            & torch.isfinite(splats.means).all(1)
            & torch.isfinite(splats.scales).all(1)
        )
        if not bool(seen.any()):
            raise UserError("mesh: expected splats that can be seen (opacity above 0.1), got none")
        means = splats.means[seen].double().cpu().numpy()
        low, high = np.quantile(means, (0.001, 0.999), axis=0)
        center = (low + high) / 2
        spread = 2 * float(splats.scales[seen].double().max(1).values.quantile(0.9))
        return Frame(
            center,
            float(np.quantile(np.linalg.norm(means - center, axis=1), 0.999)) + max(spread, 1e-9),
        )

    def inside(self, splats: Splats) -> Splats:
        center = torch.as_tensor(self.center, dtype=splats.means.dtype, device=splats.means.device)
        return Splats(
            (splats.means - center) / self.radius,
            splats.quats,
            splats.scales / self.radius,
            splats.opacities,
            splats.sh,
        )


def fibonacci_cameras(count: int, size_px: int) -> Cameras:
    """Cameras spread evenly over the sphere above LOWEST_DEG (a Fibonacci spiral), looking at the unit sphere.

    Seldom has anybody looked at an object from below while it was made: splats leave it open there, and through a hole in its floor
    one would see, and carve out, all of its inside.
    """
    index = torch.arange(count) + 0.5
    lowest = math.sin(math.radians(LOWEST_DEG))
    elevation, azimuth = (
        torch.asin(1 - (1 - lowest) * index / count),
        index * (torch.pi * (3 - 5**0.5)),
    )
    fovy = torch.full((count,), FOVY_DEG * torch.pi / 180)
    return orbit(azimuth, elevation, distance_for(fovy, FILL), fovy, size_px, size_px)


@torch.no_grad()
def render_views(splats: Splats, count: int, size_px: int) -> Views:
    """`count` pictures of splats inside the unit sphere."""
    cameras, device = fibonacci_cameras(count, size_px), splats.means.device
    # A ray that goes on through half-clear splats, or between two, would put the surface somewhere between front and back.
    dense = replace(
        splats, opacities=1 - (1 - splats.opacities) ** DENSER, scales=WIDER * splats.scales
    )
    rgb, alpha, depth = [], [], []
    for at in range(0, count, CHUNK):
        part = cameras[at : at + CHUNK].to(device)
        out = rasterize(splats, part)
        rgb.append(out.rgb.cpu().numpy())
        alpha.append(out.alpha[..., 0].cpu().numpy())
        depth.append(rasterize(dense, part).depth[..., 0].cpu().numpy())
    return Views(cameras, np.concatenate(rgb), np.concatenate(alpha), np.concatenate(depth))


def signed(views: Views, axis: np.ndarray) -> np.ndarray:
    """What the views say at the corners of a grid, `axis` [A] along each side: distances [A, A, A] in cells, positive outside, held within
    REACH_CELLS."""
    from scipy.ndimage import gaussian_filter

    from gs3d.representations.meshing._fusion import fuse

    field = np.empty((len(axis),) * 3, np.float32)
    cameras, focals = views.geometry
    reach, doubts = TRUNCATION_VOXELS * (axis[1] - axis[0]), int(DOUBTS * len(cameras))
    fuse(axis, axis, axis, cameras, focals, views.depth, views.alpha, reach, doubts, field)
    return TRUNCATION_VOXELS * gaussian_filter(field, 0.6)


def fused(views: Views, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """The surface that the views agree on: vertices [V, 3] in the unit sphere and faces [F, 3], closed, floaters removed.

    `UserError` if they see nothing solid.
    """
    from skimage.measure import marching_cubes

    step = 2 / resolution
    # Two cells more than the sphere on every side, which no view sees anything in: so the surface closes.
    axis = (np.arange(resolution + 5) - (resolution + 4) / 2) * step
    field = signed(views, axis)
    if not field.min() < 0 < field.max():
        raise UserError(
            "mesh: expected a surface, got none: from no side is enough of the splats solid"
        )
    vertices, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="descent")
    return without_floaters(vertices * step + axis[0], faces)


def colors_of(views: Views, resolution: int, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """[n, 3] in [0, 1] at points of the unit sphere; one that no view sees has the color of the nearest that one does."""
    from scipy.spatial import cKDTree

    from gs3d.representations.meshing._fusion import paint

    cameras, focals = views.geometry
    out = np.zeros((len(points), 4))
    centers = views.cameras.centers.double().numpy()
    paint(
        points,
        normals,
        cameras,
        centers,
        focals,
        views.depth,
        views.alpha,
        views.rgb,
        2 * TRUNCATION_VOXELS / resolution,
        out,
    )
    seen = out[:, 3] > 0
    if seen.any() and not seen.all():
        out[~seen] = out[seen][cKDTree(points[seen]).query(points[~seen])[1]]
    return out[:, :3].clip(0, 1).astype(np.float32)


def mesh_of_splats(
    splats: Splats, faces: int = 20_000, resolution: int = 128, views: int = 60
) -> PaintedMesh:
    """A closed surface of about `faces` triangles around what the splats show.

    Args:
        splats: Of any size, anywhere.
        faces: At most; 100 to 2,000,000.
        cells: Of the grid along the object's largest extent, 16 to 512. What is thinner than two of them may be lost, and the surface lies
            a cell or two outside the splats' middles.
        views: Pictures of `cells` · 1.5 pixels from all around, 8 to 500.

    Raises:
        UserError: The splats show nothing solid.
    """
    within("faces", faces, "[100, 2000000]")
    within("resolution", resolution, "[16, 512]")
    within("views", views, "[8, 500]")
    frame = Frame.of(splats)
    seen = render_views(frame.inside(splats), views, int(1.5 * resolution))
    vertices, triangles = fused(seen, resolution)
    vertices, triangles = thinned(smoothed(vertices, triangles), triangles, faces)

    def colors(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        return colors_of(seen, resolution, (points - frame.center) / frame.radius, normals)

    return PaintedMesh(vertices * frame.radius + frame.center, triangles, colors)
