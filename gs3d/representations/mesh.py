"""From splats to a closed triangle mesh, coloured or textured: depth maps fused, thinned out, and painted from the same views.

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
from gs3d.representations.surface.closed import smoothed, thinned, without_floaters
from gs3d.representations.surface.painted import Painted

FOVY_DEG, FILL = 38.0, 0.95
LOWEST_DEG = -20.0
CHUNK = 4
"""Views rendered at a time."""
REACH_CELLS = 3.0
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
        return self.cameras.world_to_camera.double().numpy(), self.cameras.intrinsics[:, 0, 0].double().numpy()


@dataclass(frozen=True)
class Frame:
    """Where an object is and how large: points p of the world are (p − centre) / radius in the unit sphere."""

    centre: np.ndarray
    radius: float

    @staticmethod
    def of(splats: Splats) -> "Frame":
        """About the splats that can be seen but for the farthest one in a thousand. `UserError` if there are none."""
        seen = (splats.opacities > 0.1) & torch.isfinite(splats.means).all(1) & torch.isfinite(splats.scales).all(1)
        if not bool(seen.any()):
            raise UserError("mesh: expected splats that can be seen (opacity above 0.1), got none")
        means = splats.means[seen].double().cpu().numpy()
        low, high = np.quantile(means, (0.001, 0.999), axis=0)
        centre = (low + high) / 2
        spread = 2 * float(splats.scales[seen].double().max(1).values.quantile(0.9))
        return Frame(centre, float(np.quantile(np.linalg.norm(means - centre, axis=1), 0.999)) + max(spread, 1e-9))

    def inside(self, splats: Splats) -> Splats:
        centre = torch.as_tensor(self.centre, dtype=splats.means.dtype, device=splats.means.device)
        return Splats((splats.means - centre) / self.radius, splats.quats, splats.scales / self.radius, splats.opacities, splats.sh)


def dome(count: int, size_px: int) -> Cameras:
    """Cameras spread evenly over the sphere above LOWEST_DEG (a Fibonacci spiral), looking at the unit sphere.

    Seldom has anybody looked at an object from below while it was made: splats leave it open there, and through a hole in its floor
    one would see, and carve out, all of its inside.
    """
    index = torch.arange(count) + 0.5
    lowest = math.sin(math.radians(LOWEST_DEG))
    elevation, azimuth = torch.asin(1 - (1 - lowest) * index / count), index * (torch.pi * (3 - 5**0.5))
    fovy = torch.full((count,), FOVY_DEG * torch.pi / 180)
    return orbit(azimuth, elevation, distance_for(fovy, FILL), fovy, size_px, size_px)


@torch.no_grad()
def look(splats: Splats, count: int, size_px: int) -> Views:
    """`count` pictures of splats inside the unit sphere."""
    cameras, device = dome(count, size_px), splats.means.device
    # A ray that goes on through half-clear splats, or between two, would put the surface somewhere between front and back.
    dense = replace(splats, opacities=1 - (1 - splats.opacities) ** DENSER, scales=WIDER * splats.scales)
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

    from gs3d.representations._fusion import fuse

    field = np.empty((len(axis),) * 3, np.float32)
    cameras, focals = views.geometry
    reach, doubts = REACH_CELLS * (axis[1] - axis[0]), int(DOUBTS * len(cameras))
    fuse(axis, axis, axis, cameras, focals, views.depth, views.alpha, reach, doubts, field)
    return REACH_CELLS * gaussian_filter(field, 0.6)


def fused(views: Views, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """The surface that the views agree on: vertices [V, 3] in the unit sphere and faces [F, 3], closed, floaters removed.

    `UserError` if they see nothing solid.
    """
    from skimage.measure import marching_cubes

    step = 2 / cells
    # Two cells more than the sphere on every side, which no view sees anything in: so the surface closes.
    axis = (np.arange(cells + 5) - (cells + 4) / 2) * step
    field = signed(views, axis)
    if not field.min() < 0 < field.max():
        raise UserError("mesh: expected a surface, got none: from no side is enough of the splats solid")
    vertices, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="descent")
    return without_floaters(vertices * step + axis[0], faces)


def colours_of(views: Views, cells: int, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """[n, 3] in [0, 1] at points of the unit sphere; one that no view sees has the colour of the nearest that one does."""
    from scipy.spatial import cKDTree

    from gs3d.representations._fusion import paint

    cameras, focals = views.geometry
    out = np.zeros((len(points), 4))
    centres = views.cameras.centres.double().numpy()
    paint(points, normals, cameras, centres, focals, views.depth, views.alpha, views.rgb, 2 * REACH_CELLS / cells, out)
    seen = out[:, 3] > 0
    if seen.any() and not seen.all():
        out[~seen] = out[seen][cKDTree(points[seen]).query(points[~seen])[1]]
    return out[:, :3].clip(0, 1).astype(np.float32)


def mesh_of_splats(splats: Splats, faces: int = 20_000, cells: int = 128, views: int = 60) -> Painted:
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
    within("cells", cells, "[16, 512]")
    within("views", views, "[8, 500]")
    frame = Frame.of(splats)
    seen = look(frame.inside(splats), views, int(1.5 * cells))
    vertices, triangles = fused(seen, cells)
    vertices, triangles = thinned(smoothed(vertices, triangles), triangles, faces)

    def colours(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        return colours_of(seen, cells, (points - frame.centre) / frame.radius, normals)

    return Painted(vertices * frame.radius + frame.centre, triangles, colours)
