"""A surface that somebody knows the colours of, as a mesh with a colour a vertex or with a picture wrapped around it (xatlas)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gs3d.core.checks import within
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.representations.surface.closed import normals_of

PADDING_PX = 2
"""Between two charts, so that a viewer who mixes neighbouring texels never mixes two."""


@dataclass(frozen=True)
class Painted:
    """Triangles in the world."""

    vertices: np.ndarray
    """[V, 3]"""
    faces: np.ndarray
    """[F, 3]"""
    colours: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """(points, normals), [n, 3] each → the colours [n, 3] in [0, 1] of the surface there."""

    def coloured(self) -> Mesh:
        """A colour a vertex."""
        normals = normals_of(self.vertices, self.faces)
        colours = self.colours(self.vertices, normals).astype(np.float32)
        return Mesh(self.vertices.astype(np.float32), self.faces.astype(np.int32), normals.astype(np.float32), colours)

    def textured(self, size_px: int = 1024) -> TexturedMesh:
        """Unwrapped, with a texture of `size_px`² whose colours go on past the borders of its charts."""
        import xatlas

        from gs3d.representations.surface._texels import texels

        within("texture", size_px, "[16, 8192]")
        atlas, packing = xatlas.Atlas(), xatlas.PackOptions()
        # Of one size for all: xatlas takes what is tiny for degenerate.
        centred = self.vertices - self.vertices.mean(axis=0)
        atlas.add_mesh((centred / np.abs(centred).max().clip(1e-30)).astype(np.float32), self.faces.astype(np.uint32))
        packing.resolution, packing.padding = size_px, PADDING_PX
        atlas.generate(pack_options=packing)
        corner, charted, uvs = atlas[0]
        at, charted = self.vertices[corner], charted.astype(np.int32)
        normals = normals_of(self.vertices, self.faces)[corner]
        owner, where = np.empty((size_px, size_px), np.int32), np.zeros((size_px, size_px, 2), np.float32)
        texels(uvs.astype(np.float64), charted, size_px, owner, where)
        covered = owner >= 0
        corners, second = charted[owner[covered]], where[covered].astype(np.float64)
        weights = np.concatenate([1 - second.sum(1, keepdims=True), second], axis=1)[:, :, None]
        points, across = ((values[corners] * weights).sum(1) for values in (at, normals))
        texture = np.zeros((size_px, size_px, 3), np.float32)
        texture[covered] = self.colours(points, across / np.linalg.norm(across, axis=1, keepdims=True).clip(1e-12))
        return TexturedMesh(at.astype(np.float32), charted, normals.astype(np.float32), uvs.astype(np.float32), _spread(texture, covered))


def _spread(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Every texel off the charts has the colour of the nearest on one: so no seam shows when a viewer shrinks the picture."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return texture[tuple(nearest)]
