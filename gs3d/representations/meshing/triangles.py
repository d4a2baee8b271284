"""A differentiable triangle rasterizer in plain PyTorch, the same on CPU and CUDA.

Vertices get gradients through interpolated attributes and, at silhouettes, through pixel coverage.
`visibility.nearest` finds the triangle at each pixel center, which gives hard silhouettes.
`antialias` then mixes adjacent pixels by the position where a silhouette edge crosses between their
centers (after Laine et al. 2020, Sec. 3.4). That position is differentiable. Edges are enumerated
from the mesh and not detected in the image, because triangles may be smaller than pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.representations.meshing.visibility import NEAR, areas, barycentrics_at, nearest


@dataclass(frozen=True)
class Edges:
    """The E edges of a mesh, each with its one or two triangles."""

    ends: Tensor
    """[E, 2] long, rows of the vertices."""
    faces: Tensor
    """[E, 2] long; the second is −1 at the boundary of the mesh. If an edge has more than two
    triangles, two of them are kept."""
    opposite: Tensor
    """[E, 2] long: the third vertex of each triangle; −1 as in `faces`."""


@dataclass(frozen=True)
class Fragments:
    """The visible triangle of each pixel in one view, and the projected vertices."""

    face: Tensor
    """[H, W] long, −1 for the background."""
    barycentrics: Tensor
    """[H, W, 3] perspective-correct barycentric coordinates in the face, zero on the background;
    differentiable in the vertices."""
    depth: Tensor
    """[H, W] z-depth, infinite on the background; without gradient."""
    pixels: Tensor
    """[V, 2] positions of the vertices in the image, in pixels, differentiable."""
    z: Tensor
    """[V] z-depths of the vertices, differentiable."""


def edges_of(faces: Tensor) -> Edges:
    """Return the edges of faces [F, 3]."""
    count = len(faces)
    # Each row holds the two ends of an edge and the opposite vertex.
    sides = torch.cat([faces[:, [0, 1, 2]], faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]])
    low, high = sides[:, :2].amin(1), sides[:, :2].amax(1)
    many = int(faces.max()) + 1 if count else 1
    # One number per edge, because sorting rows is ten times slower.
    key, number = (low * many + high).unique(return_inverse=True)
    ends = torch.stack([key // many, key % many], 1)
    owner = torch.arange(count, device=faces.device).repeat(3)
    order = number.argsort(stable=True)
    number, owner, opposite = number[order], owner[order], sides[order, 2]
    start = torch.searchsorted(number, torch.arange(len(ends), device=faces.device))
    both = torch.full((2, len(ends), 2), -1, device=faces.device)
    for place in range(2):
        at = (start + place).clamp_max(len(number) - 1) if len(number) else start
        exists = (number[at] == torch.arange(len(ends), device=faces.device)) & (
            start + place < len(number)
        )
        both[0, :, place] = torch.where(exists, owner[at], -1)
        both[1, :, place] = torch.where(exists, opposite[at], -1)
    return Edges(ends, both[0], both[1])


def _project(vertices: Tensor, cameras: Cameras, view: int) -> tuple[Tensor, Tensor]:
    """Return the image positions [V, 2] in pixels and the z-depths [V] of vertices [V, 3]."""
    matrix, k = cameras.world_to_camera[view], cameras.intrinsics[view]
    local = vertices @ matrix[:3, :3].T + matrix[:3, 3]
    z = local[:, 2]
    flat = local[:, :2] / torch.where(z > NEAR, z, torch.ones_like(z))[:, None]
    return flat * torch.stack([k[0, 0], k[1, 1]]) + k[:2, 2], z


def fragments(vertices: Tensor, faces: Tensor, cameras: Cameras, view: int) -> Fragments:
    """Rasterize vertices [V, 3] and faces [F, 3] in camera number `view`."""
    width, height = cameras.width, cameras.height
    pixels, z = _project(vertices, cameras, view)
    face, depth = nearest(pixels.detach(), z.detach(), faces, width, height)
    seen = (face >= 0).nonzero()[:, 0]
    rows = faces[face[seen]]
    at = torch.stack([seen % width, seen // width], 1) + 0.5
    _, weights = barycentrics_at(pixels[rows], z[rows], at.to(pixels.dtype))
    # A rasterizer that rounds vertex positions may accept a pixel center just outside a triangle.
    weights = weights.clamp_min(0)
    weights = weights / weights.sum(1, keepdim=True)
    barycentrics = torch.zeros(
        height * width, 3, dtype=weights.dtype, device=weights.device
    ).index_copy(0, seen, weights)
    return Fragments(
        face.view(height, width),
        barycentrics.view(height, width, 3),
        depth.view(height, width),
        pixels,
        z,
    )


def interpolated(values: Tensor, faces: Tensor, seen: Fragments) -> Tensor:
    """Interpolate vertex values [V, C] at the pixels, [H, W, C]; zero on the background."""
    covered = seen.face >= 0
    shown = (seen.barycentrics[covered][..., None] * values[faces[seen.face[covered]]]).sum(1)
    return torch.zeros(
        *covered.shape, values.shape[1], dtype=shown.dtype, device=shown.device
    ).index_put((covered,), shown)


def antialias(image: Tensor, seen: Fragments, faces: Tensor, edges: Edges) -> Tensor:
    """Return `image` [H, W, C] with antialiased silhouettes.

    The result is differentiable in the positions of the silhouettes. Include alpha as a channel to
    antialias it too.
    """
    height, width = seen.face.shape
    # The image y axis points down, so triangles that face the camera have a negative area.
    facing = areas(seen.pixels.detach()[faces]) < 0
    first, second = edges.faces.unbind(1)
    towards = facing[first]
    outline = (second < 0) | (towards != facing[second.clamp_min(0)])
    outline &= (seen.z.detach()[edges.ends] > NEAR).all(1)
    ends = edges.ends[outline]
    # The third vertex of the triangle that faces the camera lies on the object's side of the edge.
    opposite = torch.where(towards | (second < 0), edges.opposite[:, 0], edges.opposite[:, 1])[
        outline
    ]
    mixes = [_crossings(seen, ends, opposite, axis) for axis in (0, 1)]
    inner, outer, crossing = (torch.cat(parts) for parts in zip(*mixes, strict=True))
    flat = image.flatten(0, 1)
    step = (crossing - 0.5)[:, None]
    # If the edge crosses closer to the inner center, the inner pixel shows some of the outside.
    # Otherwise the outer pixel shows some of the inside.
    change = step.abs() * torch.where(
        step < 0, flat[outer] - flat[inner], flat[inner] - flat[outer]
    )
    into = torch.where(step[:, 0] < 0, inner, outer)
    # A pixel with an object smaller than itself is mixed from several sides. The changes are scaled
    # so that together they replace at most the whole pixel.
    taken = torch.zeros(len(flat), device=flat.device, dtype=flat.dtype).index_add(
        0, into, step[:, 0].detach().abs()
    )
    change = change / taken[into].clamp_min(1)[:, None]
    return flat.index_add(0, into, change).view_as(image)


def _crossings(
    seen: Fragments, ends: Tensor, opposite: Tensor, axis: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Find pairs of pixels adjacent along `axis` (0: x) with a silhouette edge between the centers.

    Returns (inner, outer, crossing) of each pair. Inner is the flat index of the pixel on the
    object's side, outer that of the other pixel. Crossing is the position of the edge, from 0 at
    the inner center to 1 at the outer center. A pair has at most one edge, the nearest to the
    camera.
    """
    height, width = seen.face.shape
    across = 1 - axis
    a, b = seen.pixels[ends].unbind(1)
    # Steep edges are intersected with pixel rows, flat edges with pixel columns. With both, the
    # gradient of a shift would count twice.
    span = (b - a).detach().abs()
    used = span[:, 1] >= span[:, 0] if axis == 0 else span[:, 1] < span[:, 0]
    ends, opposite, a, b = ends[used], opposite[used], a[used], b[used]
    limit = height if axis == 0 else width
    low = (torch.minimum(a, b).detach()[:, across] - 0.5).ceil().long().clamp_min(0)
    high = ((torch.maximum(a, b).detach()[:, across] - 0.5).ceil().long() - 1).clamp_max(limit - 1)
    count = (high - low + 1).clamp_min(0)
    row = torch.arange(len(ends), device=ends.device).repeat_interleave(count)
    line = (
        low[row]
        + torch.arange(len(row), device=ends.device)
        - (count.cumsum(0) - count).repeat_interleave(count)
    )
    a, b, c = a[row], b[row], seen.pixels[opposite[row]].detach()
    share = (line + 0.5 - a[:, across]) / (b - a)[:, across]
    place = a[:, axis] + share * (b - a)[:, axis]
    za, zb = seen.z.detach()[ends[row]].unbind(1)
    depth = 1 / ((1 - share.detach()) / za + share.detach() / zb)
    left = (place.detach() - 0.5).floor().long()  # the last pixel before the edge
    inside = (left >= 0) & (left + 1 < (width if axis == 0 else height))
    # The object lies on the side of the third vertex: before or behind the edge along the axis.
    third = (c - a.detach())[:, axis] - (c - a.detach())[:, across] * (
        (b - a)[:, axis] / (b - a)[:, across]
    ).detach()
    before = third < 0
    stride, other = (1, width) if axis == 0 else (width, 1)
    pair = left * stride + line * other
    inner, outer = (
        torch.where(before, pair, pair + stride),
        torch.where(before, pair + stride, pair),
    )
    from_left = place - (left + 0.5)
    crossing = torch.where(before, from_left, 1 - from_left)
    inside[inside.clone()] = _is_visible(seen, inner[inside], outer[inside], depth[inside])
    inner, outer, crossing, depth, pair = (t[inside] for t in (inner, outer, crossing, depth, pair))
    nearest = torch.full(
        (height * width,), torch.inf, device=depth.device, dtype=depth.dtype
    ).scatter_reduce(0, pair, depth, "amin")
    kept = depth <= nearest[pair]
    inner, outer, crossing, pair = (t[kept] for t in (inner, outer, crossing, pair))
    # Two edges can have the same depth, for example at a vertex: keep the first one.
    order = torch.arange(len(pair), device=pair.device)
    first = torch.full((height * width,), len(pair), device=pair.device).scatter_reduce(
        0, pair, order, "amin"
    )
    kept = first[pair] == order
    return inner[kept], outer[kept], crossing[kept]


def _is_visible(seen: Fragments, inner: Tensor, outer: Tensor, depth: Tensor) -> Tensor:
    """Return whether an edge at `depth` separates two pixels.

    It does if the inner pixel shows the object and the outer pixel shows something behind it.
    """
    shown = seen.depth.flatten()
    return (
        torch.isfinite(shown[inner])
        & (shown[outer] > depth * (1 + 1e-5))
        & (shown[inner] < shown[outer])
    )
