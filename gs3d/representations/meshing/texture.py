"""A surface that somebody knows the colors of, as a mesh with a color a vertex or with a picture wrapped around it (xatlas)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gs3d.core.checks import within
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.representations.meshing.simplify import normals_of

PADDING_PX = 2
"""Between two charts, so that a viewer who mixes neighboring texels never mixes two."""


@dataclass(frozen=True)
class PaintedMesh:
    """Triangles in the world."""

    vertices: np.ndarray
    """[V, 3]"""
    faces: np.ndarray
    """[F, 3]"""
    colors: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """(points, normals), [n, 3] each → the colors [n, 3] in [0, 1] of the surface there."""

    def colored(self) -> Mesh:
        """A color a vertex."""
        normals = normals_of(self.vertices, self.faces)
        colors = self.colors(self.vertices, normals).astype(np.float32)
        return Mesh(
            self.vertices.astype(np.float32),
            self.faces.astype(np.int32),
            normals.astype(np.float32),
            colors,
        )

    def textured(self, size_px: int = 1024) -> TexturedMesh:
        """Unwrapped, with a texture of `size_px`² whose colors go on past the borders of its charts."""
        import xatlas

        from gs3d.representations.meshing._texels import texels

        within("texture", size_px, "[16, 8192]")
        atlas, packing = xatlas.Atlas(), xatlas.PackOptions()
        # Of one size for all: xatlas takes what is tiny for degenerate.
        centered = self.vertices - self.vertices.mean(axis=0)
        atlas.add_mesh(
            (centered / np.abs(centered).max().clip(1e-30)).astype(np.float32),
            self.faces.astype(np.uint32),
        )
        packing.resolution, packing.padding = size_px, PADDING_PX
        atlas.generate(pack_options=packing)
        corner, charted, uvs = atlas[0]
        at, charted = self.vertices[corner], charted.astype(np.int32)
        normals = normals_of(self.vertices, self.faces)[corner]
        owner, where = (
            np.empty((size_px, size_px), np.int32),
            np.zeros((size_px, size_px, 2), np.float32),
        )
        texels(uvs.astype(np.float64), charted, size_px, owner, where)
        covered = owner >= 0
        corners, second = charted[owner[covered]], where[covered].astype(np.float64)
        weights = np.concatenate([1 - second.sum(1, keepdims=True), second], axis=1)[:, :, None]
        points, across = ((values[corners] * weights).sum(1) for values in (at, normals))
        texture = np.zeros((size_px, size_px, 3), np.float32)
        texture[covered] = self.colors(
            points, across / np.linalg.norm(across, axis=1, keepdims=True).clip(1e-12)
        )
        return TexturedMesh(
            at.astype(np.float32),
            charted,
            normals.astype(np.float32),
            uvs.astype(np.float32),
            _spread(texture, covered),
        )


def _spread(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Every texel off the charts has the color of the nearest on one: so no seam shows when a viewer shrinks the picture."""
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return texture[tuple(nearest)]
