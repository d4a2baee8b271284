"""Triangles of a glTF primitive, and their normals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gs3d.core.errors import UserError
from gs3d.io.gltf.arrays import read_array
from gs3d.io.gltf.container import Glb

if TYPE_CHECKING:
    from jaxtyping import Float, Int

LIST, FAN = 4, 6
"""Modes of a primitive; 5 is a strip."""


def triangles(glb: Glb, primitive: dict, count: int) -> Int[np.ndarray, "F 3"]:
    """Vertex indices, int64, of a primitive that is a list, strip or fan of triangles.

    `count` is its number of vertices.
    """
    mode, indices = primitive.get("mode", LIST), primitive.get("indices")
    order = np.arange(count) if indices is None else read_array(glb, indices, whole=True)[:, 0]
    if len(order) and not 0 <= order.min() <= order.max() < count:
        raise UserError(
            f"cannot read {glb.path}: its faces refer to vertices that are not in the file. "
            "Use another copy of the file."
        )
    if mode == LIST:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return np.empty((0, 3), np.int64)
    if mode == FAN:
        first = np.full(len(order) - 2, order[0])
        return np.stack([first, order[1:-1], order[2:]], axis=1)
    faces = np.stack([order[:-2], order[1:-1], order[2:]], axis=1)
    faces[1::2] = faces[1::2, ::-1]
    # A strip repeats a vertex to begin another one; that triangle has no area.
    a, b, c = faces.T
    return faces[(a != b) & (b != c) & (a != c)]


def smooth_normals(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Float[np.ndarray, "V 3"]:
    """Unit normals: means of those of the faces, weighted by their areas."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    across = np.cross(b - a, c - a)
    sums = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(sums, faces[:, corner], across)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0])
    return np.where(lengths > 0, sums / np.where(lengths > 0, lengths, 1), up)


def normals_under(
    matrix: Float[np.ndarray, "*V 3 3"], normals: Float[np.ndarray, "V 3"]
) -> Float[np.ndarray, "V 3"]:
    """Normals, not of unit length, after the vertices were transformed by `matrix`, or by one each.

    The inverse transpose is the matrix of cofactors over the determinant, whose size has no effect.
    """
    a, b, c = (matrix[..., :, i] for i in range(3))
    cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=-1)
    sign = np.where(np.linalg.det(matrix) < 0, -1.0, 1.0)[..., None]
    return sign * np.einsum("...rc,...c->...r", cofactors, normals)


def unit_normals(
    normals: Float[np.ndarray, "V 3"] | None,
    vertices: Float[np.ndarray, "V 3"],
    faces: Int[np.ndarray, "F 3"],
) -> Float[np.ndarray, "V 3"]:
    """Normals of unit length; smooth ones where there are none, or where they have no direction."""
    if normals is None:
        return smooth_normals(vertices, faces)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    valid = np.isfinite(lengths) & (lengths > 0)
    if valid.all():
        return normals / lengths
    return np.where(valid, normals / np.where(valid, lengths, 1), smooth_normals(vertices, faces))
