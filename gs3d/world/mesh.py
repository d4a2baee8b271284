"""The surface of an object of the world as a triangle mesh. The only module that uses scikit-image."""

import numpy as np

from gs3d.core.checks import within
from gs3d.core.types import Mesh
from gs3d.world.parts import CONE, TORUS, TUBE, checked

STEPS = 3
"""Of moving vertices onto the surface along its normal: marching cubes takes distances for straight between grid points."""


def distance_to(parts: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Signed distance [n] from points [n, 3] to the object `parts` [P, ROW]: exact outside, at least as deep as this inside."""
    return _surface(checked(parts), np.asarray(points, np.float64))[0]


def thickness(parts: np.ndarray) -> np.ndarray:
    """The least extent of each part, [P]."""
    parts = checked(parts)
    a, b, c = parts[:, 13:16].T
    ring, pipe = parts[:, 0] == TORUS, parts[:, 0] == TUBE
    cones = parts[:, 0] == CONE
    least = np.where(
        ring,
        b,
        np.where(
            pipe,
            np.minimum(b, c),
            np.where(cones, np.minimum(np.maximum(a, b), c), parts[:, 13:16].min(1)),
        ),
    )
    return 2 * least


def parts_at(parts: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Row of the part that each of `points` [n, 3] is nearest to, [n] int32."""
    return _surface(checked(parts), np.asarray(points, np.float64))[3]


def mesh_of(parts: np.ndarray, resolution: int = 128) -> Mesh:
    """The surface of the object `parts` [P, ROW] as in `world.sample.Sample`, by marching cubes (Lorensen and Cline, 1987).

    Args:
        parts: Inside the unit sphere, as samples are.
        cells: Of the grid along the unit sphere's diameter, 16 to 512. What is thinner than a cell (`thickness`) may be lost.

    Raises:
        ValueError: No part is thick enough to hold a point of the grid.
    """
    within("resolution", resolution, "[16, 512]")
    from skimage.measure import marching_cubes

    from gs3d.world.tracer.kernels import field

    parts = checked(parts)
    # The grid is no larger than the object needs, and one cell larger than that all round, so that the surface closes.
    reach = parts[:, 24:25]
    low, high = (parts[:, 1:4] - reach).min(0), (parts[:, 1:4] + reach).max(0)
    step = 2 / resolution
    axes = [
        np.arange(int(a // step) - 1, int(b // step) + 3) * step
        for a, b in zip(low, high, strict=True)
    ]
    grid = np.empty([len(axis) for axis in axes], np.float32)
    field(parts, *axes, grid)
    if grid.min() >= 0:
        raise ValueError(f"resolution: expected a grid finer than the parts, got {resolution}")
    # "descent" means that the values inside are the lower ones.
    vertices, faces, _, _ = marching_cubes(grid, 0.0, gradient_direction="descent")
    vertices = vertices * step + [axis[0] for axis in axes]
    for _ in range(STEPS):
        distance, normals, _, _ = _surface(parts, vertices)
        # At an edge between two parts the nearest one changes from step to step: no farther than a vertex may be from where it began.
        vertices = vertices - np.clip(distance, -step, step)[:, None] * normals
    _, normals, colors, _ = _surface(parts, vertices)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32), normals, colors)


def _surface(
    parts: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distance [n], normal [n, 3], color [n, 3] and part [n] at `points`."""
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
