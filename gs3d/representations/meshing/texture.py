"""Turn a surface with a color function into a mesh with vertex colors or a texture (xatlas)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np

from gs3d.core.checks import within
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.representations.meshing.simplify import normals_of

PADDING_PX = 2
"""Gap between charts, so a viewer that interpolates adjacent texels does not mix two charts."""


@dataclass(frozen=True)
class PaintedMesh:
    """A triangle mesh in world coordinates with a function that gives its colors."""

    vertices: np.ndarray
    """[V, 3]."""
    faces: np.ndarray
    """[F, 3], rows of `vertices`."""
    colors: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """Maps points [n, 3] on the surface and their normals [n, 3] to colors [n, 3] in [0, 1]."""

    def colored(self) -> Mesh:
        """Return the mesh with a color per vertex."""
        normals = normals_of(self.vertices, self.faces)
        colors = self.colors(self.vertices, normals).astype(np.float32)
        return Mesh(
            self.vertices.astype(np.float32),
            self.faces.astype(np.int32),
            normals.astype(np.float32),
            colors,
        )

    def textured(self, size_px: int = 1024) -> TexturedMesh:
        """Return the mesh with a texture of `size_px`² texels (16 to 8192).

        Texels outside the charts continue the colors at the chart borders.
        """
        import xatlas

        from gs3d.representations.meshing._texels import texels

        within("texture", size_px, "[16, 8192]")
        atlas, packing = xatlas.Atlas(), xatlas.PackOptions()
        # Scaled to unit size, because xatlas treats tiny triangles as degenerate.
        centered = self.vertices - self.vertices.mean(axis=0)
        atlas.add_mesh(
            (centered / np.abs(centered).max().clip(1e-30)).astype(np.float32),
            self.faces.astype(np.uint32),
        )
        packing.resolution, packing.padding = size_px, PADDING_PX
        atlas.generate(pack_options=packing)
        source, charted, uvs = atlas[0]
        vertices, charted = self.vertices[source], charted.astype(np.int32)
        normals = normals_of(self.vertices, self.faces)[source]
        owner, where = (
            np.empty((size_px, size_px), np.int32),
            np.zeros((size_px, size_px, 2), np.float32),
        )
        texels(uvs.astype(np.float64), charted, size_px, owner, where)
        covered = owner >= 0
        rows, last_two = charted[owner[covered]], where[covered].astype(np.float64)
        weights = np.concatenate([1 - last_two.sum(1, keepdims=True), last_two], axis=1)[:, :, None]
        points, across = ((values[rows] * weights).sum(1) for values in (vertices, normals))
        texture = np.zeros((size_px, size_px, 3), np.float32)
        texture[covered] = self.colors(
            points, across / np.linalg.norm(across, axis=1, keepdims=True).clip(1e-12)
        )
        return TexturedMesh(
            vertices.astype(np.float32),
            charted,
            normals.astype(np.float32),
            uvs.astype(np.float32),
            _spread(texture, covered),
        )


def _spread(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Give each texel outside the charts the color of the nearest texel in a chart.

    It keeps seams invisible when a viewer downsamples the texture.
    """
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return texture[tuple(cast("np.ndarray", nearest))]
