"""A picture wrapped around a surface (xatlas), painted by whoever knows the colour of a point."""

from collections.abc import Callable

import numpy as np

from gs3d.core.checks import within
from gs3d.core.types import TexturedMesh
from gs3d.representations.surface.closed import normals_of


def unwrapped(
    vertices: np.ndarray, faces: np.ndarray, colours: Callable[[np.ndarray, np.ndarray], np.ndarray], size_px: int = 1024
) -> TexturedMesh:
    """Vertices [V, 3] and faces [F, 3] with a texture of `size_px`² whose colours go on past the borders of its charts.

    `colours(points, normals)`, [n, 3] each, says the colours [n, 3] in [0, 1] of the surface there.
    """
    import xatlas

    from gs3d.representations.surface._texels import texels

    within("texture", size_px, "[16, 8192]")
    corner, charted, uvs = xatlas.parametrize(vertices.astype(np.float32), faces.astype(np.uint32))
    at, charted = vertices[corner], charted.astype(np.int32)
    normals = normals_of(vertices, faces)[corner]
    owner, where = np.empty((size_px, size_px), np.int32), np.zeros((size_px, size_px, 2), np.float32)
    texels(uvs.astype(np.float64), charted, size_px, owner, where)
    covered = owner >= 0
    corners, second = charted[owner[covered]], where[covered].astype(np.float64)
    weights = np.concatenate([1 - second.sum(1, keepdims=True), second], axis=1)[:, :, None]
    points, across = ((values[corners] * weights).sum(1) for values in (at, normals))
    texture = np.zeros((size_px, size_px, 3), np.float32)
    texture[covered] = colours(points, across / np.linalg.norm(across, axis=1, keepdims=True).clip(1e-12))
    return TexturedMesh(at.astype(np.float32), charted, normals.astype(np.float32), uvs.astype(np.float32), _spread(texture, covered))


def _spread(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Every texel off the charts has the colour of the nearest on one: so no seam shows when a viewer shrinks the picture."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return texture[tuple(nearest)]
