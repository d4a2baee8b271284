"""Closed triangle meshes as arrays: pieces taken away, thinned out, smoothed; closed before, closed after."""

from typing import TYPE_CHECKING

import numpy as np

from gs3d.core.errors import UserError

if TYPE_CHECKING:
    import manifold3d

SMALLEST_PIECE = 0.005
"""Share of the whole volume below which a piece is a floater."""
VOLUME_KEEPS, BOX_KEEPS = 0.15, 0.05
"""Shares of the volume, and of the box, by which thinning may change a surface: beyond, it has cut something off."""
SMOOTHING = ((0.5, -0.53), 6)
"""Of Taubin (1995): a step that shrinks, one that grows, how often."""


def without_floaters(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import manifold3d

    pieces = _manifold(vertices, faces).decompose()
    solid = sum(max(piece.volume(), 0.0) for piece in pieces)
    kept = [piece for piece in pieces if piece.volume() > SMALLEST_PIECE * solid]
    if not kept:
        raise UserError("mesh: expected a surface, got none: what is solid has no inside")
    return _arrays(manifold3d.Manifold.compose(kept))


def thinned(vertices: np.ndarray, faces: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The same closed surface with at most `most` triangles, by the least tolerance that does; if none does that keeps its shape, with as
    few as do."""
    whole = best = _manifold(vertices, faces)
    for tolerance in np.geomspace(1e-4, 0.25, 48):
        if best.num_tri() <= most:
            break
        simple = whole.simplify(float(tolerance))
        best = simple if 0 < simple.num_tri() < best.num_tri() and _alike(simple, whole) else best
    return _arrays(best)


def _alike(one: "manifold3d.Manifold", other: "manifold3d.Manifold") -> bool:
    """Whether two surfaces have the same volume and box, nearly, and the first has no edge with more than two triangles."""
    boxes = [np.array(made.bounding_box()) for made in (one, other)]
    reach = (boxes[1][3:] - boxes[1][:3]).max()
    if (
        abs(one.volume() - other.volume()) > VOLUME_KEEPS * abs(other.volume())
        or np.abs(boxes[0] - boxes[1]).max() > BOX_KEEPS * reach
    ):
        return False
    points, faces = _arrays(one)
    # Points in one place are one to whoever reads the file, and then an edge may have four triangles.
    faces = np.unique(points.astype(np.float32), axis=0, return_inverse=True)[1].reshape(-1)[faces]
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return bool((np.unique(edges, axis=0, return_counts=True)[1] == 2).all())


def smoothed(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Vertices after Taubin's two-step smoothing, which takes the grain of splats away and keeps the size."""
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
    """[V, 3] of unit length, the mean of the faces around, weighted by area."""
    size = np.abs(
        vertices - vertices.mean(axis=0)
    ).max()  # areas of a small mesh would be lost among the roundings
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
    """The library for closed surfaces: what it gives back is one again, whatever was taken away."""
    import manifold3d

    made = manifold3d.Manifold(
        manifold3d.Mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    )
    if made.status() != manifold3d.Error.NoError:
        raise UserError(
            f"mesh: the surface found is not closed ({made.status().name}); a grid of other cells may have one that is"
        )
    return made


def _arrays(made: "manifold3d.Manifold") -> tuple[np.ndarray, np.ndarray]:
    mesh = made.to_mesh()
    return np.asarray(mesh.vert_properties, np.float64), np.asarray(mesh.tri_verts, np.int64)
