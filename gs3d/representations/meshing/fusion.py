"""Convert splats to a closed triangle mesh: fuse rendered depth maps, simplify, and add color.

The mesh depends only on renders of the splats, so it works for any number and size of splats, from
gs3d or from another program.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from gs3d.core.cameras import Cameras, distance_for, orbit
from gs3d.core.checks import within
from gs3d.core.errors import UserError
from gs3d.core.runtime.threads import run
from gs3d.core.types import Splats
from gs3d.raster import rasterize
from gs3d.representations.meshing.simplify import smoothed, thinned, without_floaters
from gs3d.representations.meshing.texture import PaintedMesh

FOVY_DEG, FILL = 38.0, 0.95
"""Vertical field of view, and the share of the image that the unit sphere spans."""
LOWEST_DEG = -20.0
"""Lowest elevation of a camera."""
VIEWS_PER_BATCH = 4
"""Views rendered at a time."""
TRUNCATION_VOXELS = 3.0
"""Truncation of the signed distance, in voxels."""
DEPTH_COPIES, DEPTH_SCALE = 6, 1.6
"""For depth maps, each splat is repeated this many times and scaled by this factor."""
MAX_LEAKING_SHARE = 0.1
"""Share of the views that may see through a point inside the object: splats leave small gaps."""


@dataclass(frozen=True)
class Views:
    """Renders of splats from V cameras around them, as numpy arrays."""

    cameras: Cameras
    rgb: np.ndarray
    """[V, S, S, 3] over black."""
    alpha: np.ndarray
    """[V, S, S]"""
    depth: np.ndarray
    """[V, S, S]"""

    @cached_property
    def geometry(self) -> tuple[np.ndarray, np.ndarray]:
        """World-to-camera matrices [V, 4, 4] and focal lengths [V] in pixels."""
        return self.cameras.world_to_camera.double().numpy(), self.cameras.intrinsics[
            :, 0, 0
        ].double().numpy()


@dataclass(frozen=True)
class UnitSphereTransform:
    """Center and radius of an object: p ↦ (p − center) / radius moves it into the unit sphere."""

    center: np.ndarray
    radius: float

    @staticmethod
    def of(splats: Splats) -> "UnitSphereTransform":
        """Fit center and radius to the visible splats, ignoring the farthest 0.1 %.

        Raises:
            UserError: No splat is visible, that is, finite and with an opacity above 0.1.
        """
        seen = (
            (splats.opacities > 0.1)
            & torch.isfinite(splats.means).all(1)
            & torch.isfinite(splats.scales).all(1)
        )
        if not bool(seen.any()):
            raise UserError(
                "mesh: expected visible splats (finite, opacity above 0.1), got none; "
                "check the file with gs3d info"
            )
        means = splats.means[seen].double().cpu().numpy()
        low, high = np.quantile(means, (0.001, 0.999), axis=0)
        center = (low + high) / 2
        spread = 2 * float(splats.scales[seen].double().max(1).values.quantile(0.9))
        return UnitSphereTransform(
            center,
            float(np.quantile(np.linalg.norm(means - center, axis=1), 0.999)) + max(spread, 1e-9),
        )

    def apply(self, splats: Splats) -> Splats:
        """Return the splats moved into the unit sphere."""
        center = torch.as_tensor(self.center, dtype=splats.means.dtype, device=splats.means.device)
        return Splats(
            (splats.means - center) / self.radius,
            splats.quats,
            splats.scales / self.radius,
            splats.opacities,
            splats.sh,
        )


def fibonacci_cameras(count: int, size_px: int) -> Cameras:
    """Return cameras spread evenly above LOWEST_DEG (a Fibonacci spiral), facing the unit sphere.

    Training views rarely look up from below, so splats often leave the underside open. A camera
    below would look through that hole, and the fusion would carve out the inside.
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
    """Render splats in the unit sphere from `count` cameras, with images of `size_px`² pixels."""
    cameras, device = fibonacci_cameras(count, size_px), splats.means.device
    # The expected depth of a ray through semi-transparent splats, or through a gap between splats,
    # lies between the front and the back of the object. Denser splats move it to the front.
    dense = replace(
        splats,
        opacities=1 - (1 - splats.opacities) ** DEPTH_COPIES,
        scales=DEPTH_SCALE * splats.scales,
    )
    rgb, alpha, depth = [], [], []
    for at in range(0, count, VIEWS_PER_BATCH):
        part = cameras[at : at + VIEWS_PER_BATCH].to(device)
        out = rasterize(splats, part)
        rgb.append(out.rgb.cpu().numpy())
        alpha.append(out.alpha[..., 0].cpu().numpy())
        depth.append(rasterize(dense, part).depth[..., 0].cpu().numpy())
    return Views(cameras, np.concatenate(rgb), np.concatenate(alpha), np.concatenate(depth))


def signed_distances(views: Views, axis: np.ndarray) -> np.ndarray:
    """Fuse the views into signed distances [A, A, A] on a grid with coordinates `axis` [A].

    They are in voxels, positive outside, clamped to ±TRUNCATION_VOXELS.
    """
    from scipy.ndimage import gaussian_filter

    from gs3d.representations.meshing._fusion import fuse

    field = np.empty((len(axis),) * 3, np.float32)
    cameras, focals = views.geometry
    truncation = TRUNCATION_VOXELS * (axis[1] - axis[0])
    max_leaks = int(MAX_LEAKING_SHARE * len(cameras))
    maps = views.depth, views.alpha
    run(fuse, len(axis), axis, axis, axis, cameras, focals, *maps, truncation, max_leaks, field)
    return TRUNCATION_VOXELS * gaussian_filter(field, 0.6)


def fused_surface(views: Views, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the closed surface of the views without floaters, in the unit sphere.

    It consists of vertices [V, 3] and faces [F, 3].

    Raises:
        UserError: The views show nothing solid.
    """
    from skimage.measure import marching_cubes

    step = 2 / resolution
    # A margin of two voxels around the sphere is empty in all views, so the surface is closed.
    axis = (np.arange(resolution + 5) - (resolution + 4) / 2) * step
    field = signed_distances(views, axis)
    if not field.min() < 0 < field.max():
        raise UserError(
            "mesh: expected a surface, got none: renders of the splats show nothing solid "
            "(alpha 0.5); check them with gs3d view"
        )
    vertices, faces, _, _ = marching_cubes(field, 0.0, gradient_direction="descent")
    return without_floaters(vertices * step + axis[0], faces)


def colors_of(views: Views, resolution: int, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Return the colors [n, 3] in [0, 1] of surface points [n, 3] with unit normals [n, 3].

    Points are in the unit sphere. A point that no view sees gets the color of the nearest point
    that a view does see.
    """
    # scipy has no types for this compiled class.
    from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]

    from gs3d.representations.meshing._fusion import paint

    cameras, focals = views.geometry
    out = np.zeros((len(points), 4))
    centers = views.cameras.centers.double().numpy()
    run(
        paint,
        len(points),
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
    """Return a closed mesh of at most `faces` triangles around splats of any size and position.

    Args:
        splats: The splats to convert.
        faces: Maximum number of triangles, 100 to 2,000,000. The mesh has more if no simplification
            to this number keeps its shape.
        resolution: Voxels along the object's largest extent, 16 to 512. Structures thinner than two
            voxels may be lost. The surface lies one or two voxels outside the splat centers.
        views: Number of rendered views, 8 to 500, each 1.5 · `resolution` pixels wide and high.

    Raises:
        UserError: The splats show nothing solid.
    """
    within("faces", faces, "[100, 2000000]")
    within("resolution", resolution, "[16, 512]")
    within("views", views, "[8, 500]")
    transform = UnitSphereTransform.of(splats)
    rendered = render_views(transform.apply(splats), views, int(1.5 * resolution))
    vertices, triangles = fused_surface(rendered, resolution)
    vertices, triangles = thinned(smoothed(vertices, triangles), triangles, faces)

    def colors(points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        local = (points - transform.center) / transform.radius
        return colors_of(rendered, resolution, local, normals)

    return PaintedMesh(vertices * transform.radius + transform.center, triangles, colors)
