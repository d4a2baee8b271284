"""Tetrahedral grids and marching tetrahedra (Shen et al. 2021, DMTet, Sec. 3.1.3).

Signed distances are negative inside. If all grid vertices on the border are outside, the surface is
closed: each of its edges belongs to two triangles.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

EDGES = tuple(itertools.combinations(range(4), 2))
"""The six edges of a tetrahedron, as pairs of its vertices 0 to 3."""


@dataclass(frozen=True)
class TetGrid:
    """The cube [−1, 1]³, divided into tetrahedra."""

    vertices: Float[Tensor, "V 3"]
    tets: Int64[Tensor, "T 4"]
    """Rows of `vertices`; each tetrahedron has a positive volume."""
    border: Bool[Tensor, " V"]
    """Whether a vertex lies on the surface of the cube."""

    def to(self, device: torch.device | str) -> TetGrid:
        return TetGrid(self.vertices.to(device), self.tets.to(device), self.border.to(device))


def tet_grid(resolution: int) -> TetGrid:
    """Return `resolution`³ small cubes, each divided into six tetrahedra around its diagonal.

    Adjacent cubes share whole triangles (Kuhn 1960).

    Raises:
        ValueError: `resolution` is below 1.
    """
    if resolution < 1:
        raise ValueError(f"resolution: expected 1 or more, got {resolution}")
    side = resolution + 1
    axis = torch.arange(side)
    places = torch.cartesian_prod(axis, axis, axis)
    stride = torch.tensor([side * side, side, 1])
    first = (places * stride).sum(1)[(places < resolution).all(1)]
    paths = []
    for order in itertools.permutations(range(3)):
        # Walk from one end of the diagonal to the other, one axis at a time.
        steps = [0, *torch.cumsum(stride[list(order)], 0).tolist()]
        even = sum(a > b for a, b in itertools.combinations(order, 2)) % 2 == 0
        paths.append(steps if even else [steps[0], steps[2], steps[1], steps[3]])
    tets = (first[:, None, None] + torch.tensor(paths)).flatten(0, 1)
    return TetGrid(
        2 * places / resolution - 1, tets, ((places == 0) | (places == resolution)).any(1)
    )


@functools.cache
def cases() -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """Return the triangles of the 16 sign patterns of a tetrahedron, as indices into EDGES.

    Bit i of a pattern is set if vertex i is inside. Triangles are counterclockwise seen from
    outside. The table is computed: one vertex that differs from the other three gives a triangle,
    two and two give a quadrilateral. A right-angled tetrahedron determines the orientation.
    """
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    table = []
    for code in range(16):
        inside, outside = (
            [i for i in range(4) if code >> i & 1],
            [i for i in range(4) if not code >> i & 1],
        )
        if not inside or not outside:
            table.append(())
            continue
        if len(inside) == 2:
            (a, b), (c, d) = inside, outside
            # Consecutive edges lie on a common face of the tetrahedron.
            ring = [(a, c), (a, d), (b, d), (b, c)]
        else:
            ring = list(itertools.product(inside, outside))
        middles = torch.stack([vertices[list(pair)].mean(0) for pair in ring])
        normal = torch.linalg.cross(middles[1] - middles[0], middles[2] - middles[0])
        if normal @ (vertices[outside].mean(0) - vertices[inside].mean(0)) < 0:
            ring.reverse()
        edges = [EDGES.index(tuple(sorted(pair))) for pair in ring]
        table.append(tuple((edges[0], edges[i], edges[i + 1]) for i in range(1, len(edges) - 1)))
    return tuple(table)


@functools.cache
def _table(device: torch.device) -> Tensor:
    """Return `cases` as a tensor [16, 2, 3], with −1 where there is no triangle."""
    rows = [[*triangles, *[(-1, -1, -1)] * (2 - len(triangles))] for triangles in cases()]
    return torch.tensor(rows, device=device)


def marching_tetrahedra(
    vertices: Float[Tensor, "V 3"], distance: Float[Tensor, " V"], tets: Int64[Tensor, "T 4"]
) -> tuple[Float[Tensor, "P 3"], Int64[Tensor, "F 3"]]:
    """Return points and faces of the zero level of `distance`, which is given at `vertices`.

    Both results are empty if no sign changes. Points are differentiable in `vertices` and
    `distance`; the faces are not. Each point lies on an edge of the grid, and all tetrahedra at
    that edge share it.
    """
    inside = distance < 0
    bits = inside.to(torch.uint8)
    code = functools.reduce(torch.bitwise_or, (bits[tets[:, i]] << i for i in range(4)))
    crossed = ((code > 0) & (code < 15)).nonzero()[:, 0]
    tets, code = tets[crossed], code[crossed].long()
    ends = tets[:, torch.tensor(EDGES, device=tets.device)].sort(dim=2).values  # [M, 6, 2]
    cut = inside[ends[..., 0]] != inside[ends[..., 1]]
    keys, number = torch.unique(
        ends[..., 0][cut] * len(vertices) + ends[..., 1][cut], return_inverse=True
    )
    point_of = torch.full(cut.shape, -1, device=tets.device)
    point_of[cut] = number
    low, high = keys // len(vertices), keys % len(vertices)
    # The two distances have different signs, so the denominator is never zero.
    share = distance[low] / (distance[low] - distance[high])
    points = vertices[low] + share[:, None] * (vertices[high] - vertices[low])
    triangles = _table(tets.device)[code]  # [M, 2, 3]
    valid = triangles[..., 0] >= 0
    faces = point_of.gather(1, triangles.clamp_min(0).flatten(1)).view_as(triangles)[valid]
    return points, faces
