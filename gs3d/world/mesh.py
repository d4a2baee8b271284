"""Triangle meshes of the world's objects. The only module that uses scikit-image."""

import numpy as np

from gs3d.core.checks import within
from gs3d.core.runtime.threads import run
from gs3d.core.types import Mesh
from gs3d.world.parts import CONE, TORUS, TUBE, checked

PROJECTION_STEPS = 3
"""Steps that move the vertices onto the surface along its normal.

They are needed because marching cubes interpolates distances linearly between grid points.
"""


def distance_to(parts: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Signed distance [n] from points [n, 3] to the object `parts` [P, ROW].

    Outside the object it is exact. Inside, its magnitude is a lower bound of the depth.
    """
    return _surface(checked(parts), np.asarray(points, np.float64))[0]


def thickness(parts: np.ndarray) -> np.ndarray:
    """The smallest extent of each part, [P]."""
    parts = checked(parts)
    a, b, c = parts[:, 13:16].T
    is_torus, is_tube = parts[:, 0] == TORUS, parts[:, 0] == TUBE
    is_cone = parts[:, 0] == CONE
    half = np.where(
        is_torus,
        b,
        np.where(
            is_tube,
            np.minimum(b, c),
            np.where(is_cone, np.minimum(np.maximum(a, b), c), parts[:, 13:16].min(1)),
        ),
    )
    return 2 * half


def parts_at(parts: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Index of the part nearest to each of `points` [n, 3]: [n] int32."""
    return _surface(checked(parts), np.asarray(points, np.float64))[3]


def mesh_of(parts: np.ndarray, resolution: int = 128) -> Mesh:
    """Extract the surface of an object by marching cubes (Lorensen and Cline, 1987).

    Args:
        parts: [P, ROW] as in `world.sample.Sample`, inside the unit sphere.
        resolution: Voxels along the diameter of the unit sphere, 16 to 512. Parts thinner than a
            voxel (see `thickness`) may be lost.

    Raises:
        ValueError: `resolution` is out of range, `parts` is not a valid table, or no part contains
            a grid point.
    """
    within("resolution", resolution, "[16, 512]")
    from skimage.measure import marching_cubes

    from gs3d.world.tracer.kernels import field

    parts = checked(parts)
    # The grid covers the bounding box and one more voxel on each side, so that the surface closes.
    reach = parts[:, 24:25]
    low, high = (parts[:, 1:4] - reach).min(0), (parts[:, 1:4] + reach).max(0)
    step = 2 / resolution
    axes = [
        np.arange(int(a // step) - 1, int(b // step) + 3) * step
        for a, b in zip(low, high, strict=True)
    ]
    grid = np.empty([len(axis) for axis in axes], np.float32)
    run(field, len(axes[0]), parts, *axes, grid)
    if grid.min() >= 0:
        raise ValueError(
            f"resolution: expected voxels thinner than the parts, got {resolution}; increase it"
        )
    # "descent" means that values are lower inside.
    vertices, faces, _, _ = marching_cubes(grid, 0.0, gradient_direction="descent")
    vertices = vertices * step + [axis[0] for axis in axes]
    for _ in range(PROJECTION_STEPS):
        distance, normals, _, _ = _surface(parts, vertices)
        # At an edge between two parts, the nearest part can change from step to step. The clamp
        # to one voxel keeps a vertex near its start.
        vertices = vertices - np.clip(distance, -step, step)[:, None] * normals
    _, normals, colors, _ = _surface(parts, vertices)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), normals, colors)


def _surface(
    parts: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distance [n], normal [n, 3], color [n, 3] and index of the nearest part [n] at `points`."""
    from gs3d.world.tracer.kernels import surface

    n = len(points)
    out = (
        np.empty(n, np.float32),
        np.empty((n, 3), np.float32),
        np.empty((n, 3), np.float32),
        np.empty(n, np.int32),
    )
    surface(parts, points, *out)
    return out
