"""Remove floaters from closed triangle meshes, simplify and smooth them; they stay closed."""

from typing import TYPE_CHECKING

import numpy as np

from gs3d.core.errors import UserError

if TYPE_CHECKING:
    import manifold3d

SMALLEST_PIECE = 0.005
"""Share of the total volume up to which a connected piece is a floater."""
MAX_VOLUME_CHANGE, MAX_BOX_CHANGE = 0.15, 0.05
"""Maximum relative changes of the volume and of the bounding box by simplification. A larger change
means that a part was cut off."""
SMOOTHING = ((0.5, -0.53), 6)
"""Smoothing of Taubin (1995): the shrinking step, the expanding step, and the iterations."""


def without_floaters(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a closed surface without its small connected pieces.

    Raises:
        UserError: The surface is not closed, or no piece has a volume.
    """
    import manifold3d

    pieces = _manifold(vertices, faces).decompose()
    solid = sum(max(piece.volume(), 0.0) for piece in pieces)
    kept = [piece for piece in pieces if piece.volume() > SMALLEST_PIECE * solid]
    if not kept:
        raise UserError(
            "mesh: expected a surface with a volume, got none: no part of it encloses a volume; "
            "try another resolution (--resolution for splats)"
        )
    return _arrays(manifold3d.Manifold.compose(kept))


def thinned(vertices: np.ndarray, faces: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Simplify a closed surface to at most `most` triangles with the smallest sufficient tolerance.

    If no tolerance reaches `most` without changing the shape, return the smallest surface that
    keeps the shape.
    """
    original = best = _manifold(vertices, faces)
    for tolerance in np.geomspace(1e-4, 0.25, 48):
        if best.num_tri() <= most:
            break
        simple = original.simplify(float(tolerance))
        fewer = 0 < simple.num_tri() < best.num_tri()
        best = simple if fewer and _keeps_shape(simple, original) else best
    return _arrays(best)


def _keeps_shape(simple: "manifold3d.Manifold", original: "manifold3d.Manifold") -> bool:
    """Return whether volume and bounding box are nearly equal, and all edges have two triangles."""
    boxes = [np.array(surface.bounding_box()) for surface in (simple, original)]
    extent = (boxes[1][3:] - boxes[1][:3]).max()
    if (
        abs(simple.volume() - original.volume()) > MAX_VOLUME_CHANGE * abs(original.volume())
        or np.abs(boxes[0] - boxes[1]).max() > MAX_BOX_CHANGE * extent
    ):
        return False
    points, faces = _arrays(simple)
    # Readers of mesh files merge coincident vertices, which can give an edge four triangles.
    faces = np.unique(points.astype(np.float32), axis=0, return_inverse=True)[1].reshape(-1)[faces]
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return bool((np.unique(edges, axis=0, return_counts=True)[1] == 2).all())


def smoothed(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the vertices after Taubin smoothing.

    It removes the graininess that comes from individual splats and preserves the volume.
    """
    from scipy.sparse import coo_matrix, diags

    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(vertices),) * 2).tocsr()
    graph = graph + graph.T
    mean = diags(1 / np.asarray(graph.sum(1)).ravel()) @ graph
    steps, times = SMOOTHING
    for _ in range(times):
        for step in steps:
            vertices = vertices + step * (mean @ vertices - vertices)
    return vertices


def normals_of(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return unit vertex normals [V, 3]: the area-weighted mean of the adjacent triangles."""
    # Normalizing the size avoids rounding errors in the areas of a small mesh.
    size = np.abs(vertices - vertices.mean(axis=0)).max()
    a, b, c = (vertices[faces[:, i]] / max(size, 1e-30) for i in range(3))
    across = np.cross(b - a, c - a)
    total = np.stack(
        [
            np.bincount(faces.ravel(), weights=np.repeat(across[:, i], 3), minlength=len(vertices))
            for i in range(3)
        ],
        axis=1,
    )
    return total / np.linalg.norm(total, axis=1, keepdims=True).clip(1e-12)


def _manifold(vertices: np.ndarray, faces: np.ndarray) -> "manifold3d.Manifold":
    """Convert arrays to a `Manifold`, whose operations return closed surfaces.

    Raises:
        UserError: The surface is not closed.
    """
    import manifold3d

    surface = manifold3d.Manifold(
        manifold3d.Mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    )
    if surface.status() != manifold3d.Error.NoError:
        raise UserError(
            f"mesh: expected a closed surface, got an open one ({surface.status().name}); "
            "try another resolution (--resolution for splats)"
        )
    return surface


def _arrays(surface: "manifold3d.Manifold") -> tuple[np.ndarray, np.ndarray]:
    """Return vertices [V, 3] and faces [F, 3]."""
    mesh = surface.to_mesh()
    return np.asarray(mesh.vert_properties, np.float64), np.asarray(mesh.tri_verts, np.int64)
