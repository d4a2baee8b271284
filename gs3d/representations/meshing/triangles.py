"""Triangles to pictures, with gradients to the corners through what a pixel shows and, at silhouettes, through how much of it.

In plain PyTorch, the same on CPU and CUDA. What a pixel's center sees is `visibility.nearest`. A silhouette is where it jumps, so there
neighboring pixels are mixed by where the edge crosses between their centers (after Laine et al. 2020, Sec. 3.4), and that place has a
gradient. Edges are enumerated, not looked for in the picture: triangles may be smaller than pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.representations.meshing.visibility import NEAR, areas, nearest, shares_at


@dataclass(frozen=True)
class Edges:
    """The edges of a mesh: E, each with the one or two triangles at it."""

    ends: Tensor
    """[E, 2] long, rows of the vertices."""
    faces: Tensor
    """[E, 2] long; the second −1 where the mesh ends. Of more than two triangles at an edge, two are kept."""
    opposite: Tensor
    """[E, 2] long: the third corner of each triangle; −1 as in `faces`."""


@dataclass(frozen=True)
class Fragments:
    """What the pixels of one view show."""

    face: Tensor
    """[H, W] long, −1 for the background."""
    corners: Tensor
    """[H, W, 3] shares of the face's corners, in perspective, zero on the background; with gradient to the vertices."""
    depth: Tensor
    """[H, W] z-depth, infinite on the background; without gradient."""
    pixels: Tensor
    """[V, 2] the vertices in the picture, with gradient."""
    z: Tensor
    """[V] their z-depths, with gradient."""


def edges_of(faces: Tensor) -> Edges:
    """faces [F, 3] → its edges."""
    count = len(faces)
    sides = torch.cat(
        [faces[:, [0, 1, 2]], faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]]
    )  # two ends and the corner opposite
    low, high = sides[:, :2].amin(1), sides[:, :2].amax(1)
    many = int(faces.max()) + 1 if count else 1
    key, number = (low * many + high).unique(
        return_inverse=True
    )  # one number an edge: rows would be sorted ten times as slowly
    ends = torch.stack([key // many, key % many], 1)
    owner = torch.arange(count, device=faces.device).repeat(3)
    order = number.argsort(stable=True)
    number, owner, opposite = number[order], owner[order], sides[order, 2]
    start = torch.searchsorted(number, torch.arange(len(ends), device=faces.device))
    both = torch.full((2, len(ends), 2), -1, device=faces.device)
    for place in range(2):
        at = (start + place).clamp_max(len(number) - 1) if len(number) else start
        there = (number[at] == torch.arange(len(ends), device=faces.device)) & (
            start + place < len(number)
        )
        both[0, :, place] = torch.where(there, owner[at], -1)
        both[1, :, place] = torch.where(there, opposite[at], -1)
    return Edges(ends, both[0], both[1])


def _in_picture(vertices: Tensor, cameras: Cameras, view: int) -> tuple[Tensor, Tensor]:
    """[V, 2] pixels and [V] z-depths."""
    matrix, k = cameras.world_to_camera[view], cameras.intrinsics[view]
    local = vertices @ matrix[:3, :3].T + matrix[:3, 3]
    z = local[:, 2]
    flat = local[:, :2] / torch.where(z > NEAR, z, torch.ones_like(z))[:, None]
    return flat * torch.stack([k[0, 0], k[1, 1]]) + k[:2, 2], z


def fragments(vertices: Tensor, faces: Tensor, cameras: Cameras, view: int) -> Fragments:
    """What view `view` sees of vertices [V, 3] and faces [F, 3]."""
    width, height = cameras.width, cameras.height
    pixels, z = _in_picture(vertices, cameras, view)
    face, depth = nearest(pixels.detach(), z.detach(), faces, width, height)
    seen = (face >= 0).nonzero()[:, 0]
    rows = faces[face[seen]]
    at = torch.stack([seen % width, seen // width], 1) + 0.5
    _, shares = shares_at(pixels[rows], z[rows], at.to(pixels.dtype))
    shares = shares.clamp_min(
        0
    )  # a rasterizer that rounds corners may say that a center just outside is inside
    shares = shares / shares.sum(1, keepdim=True)
    corners = torch.zeros(height * width, 3, dtype=shares.dtype, device=shares.device).index_copy(
        0, seen, shares
    )
    return Fragments(
        face.view(height, width),
        corners.view(height, width, 3),
        depth.view(height, width),
        pixels,
        z,
    )


def interpolated(values: Tensor, faces: Tensor, seen: Fragments) -> Tensor:
    """Values of vertices [V, C] → [H, W, C] what the pixels show of them; zero on the background."""
    covered = seen.face >= 0
    shown = (seen.corners[covered][..., None] * values[faces[seen.face[covered]]]).sum(1)
    return torch.zeros(
        *covered.shape, values.shape[1], dtype=shown.dtype, device=shown.device
    ).index_put((covered,), shown)


def antialias(picture: Tensor, seen: Fragments, faces: Tensor, edges: Edges) -> Tensor:
    """`picture` [H, W, C] with its silhouettes where they are between pixels, and with a gradient to where that is.

    Give it alpha as a channel to smooth that too.
    """
    height, width = seen.face.shape
    facing = (
        areas(seen.pixels.detach()[faces]) < 0
    )  # y goes down in a picture: what is anticlockwise in the world is negative here
    first, second = edges.faces.unbind(1)
    towards = facing[first]
    outline = (second < 0) | (towards != facing[second.clamp_min(0)])
    outline &= (seen.z.detach()[edges.ends] > NEAR).all(1)
    ends = edges.ends[outline]
    # The corner of the triangle that faces the camera says on which side the object is.
    opposite = torch.where(towards | (second < 0), edges.opposite[:, 0], edges.opposite[:, 1])[
        outline
    ]
    mixes = [_crossings(seen, ends, opposite, axis) for axis in (0, 1)]
    inner, outer, way = (torch.cat(parts) for parts in zip(*mixes, strict=True))
    flat = picture.flatten(0, 1)
    step = (way - 0.5)[:, None]
    # Less than half way from the inner center: the inner pixel is partly what is outside. More: the outer one is partly inside.
    change = step.abs() * torch.where(
        step < 0, flat[outer] - flat[inner], flat[inner] - flat[outer]
    )
    into = torch.where(step[:, 0] < 0, inner, outer)
    # A piece below a pixel is mixed from several sides: together they may take all of a pixel, not more.
    taken = torch.zeros(len(flat), device=flat.device, dtype=flat.dtype).index_add(
        0, into, step[:, 0].detach().abs()
    )
    change = change / taken[into].clamp_min(1)[:, None]
    return flat.index_add(0, into, change).view_as(picture)


def _crossings(
    seen: Fragments, ends: Tensor, opposite: Tensor, axis: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of pixels that are neighbors along `axis` (0: x) with an edge between their centers: (inner, outer, way from inner to edge).

    Inner is the pixel on the object's side. At most one edge a pair, the nearest to the camera.
    """
    height, width = seen.face.shape
    across = 1 - axis
    a, b = seen.pixels[ends].unbind(1)
    # An edge is crossed by rows if it is steep and by columns if it is flat: by both, a shift of it would count twice.
    span = (b - a).detach().abs()
    ours = span[:, 1] >= span[:, 0] if axis == 0 else span[:, 1] < span[:, 0]
    ends, opposite, a, b = ends[ours], opposite[ours], a[ours], b[ours]
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
    left = (place.detach() - 0.5).floor().long()  # the pixel before the edge
    inside = (left >= 0) & (left + 1 < (width if axis == 0 else height))
    # Is the object before the edge or behind it, along the axis: on the side of the third corner.
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
    way = torch.where(before, from_left, 1 - from_left)
    inside[inside.clone()] = _shows(seen, inner[inside], outer[inside], depth[inside])
    inner, outer, way, depth, pair = (t[inside] for t in (inner, outer, way, depth, pair))
    nearest = torch.full(
        (height * width,), torch.inf, device=depth.device, dtype=depth.dtype
    ).scatter_reduce(0, pair, depth, "amin")
    kept = depth <= nearest[pair]
    inner, outer, way, pair = (t[kept] for t in (inner, outer, way, pair))
    order = torch.arange(
        len(pair), device=pair.device
    )  # two edges of one depth, as at a corner: the first
    first = torch.full((height * width,), len(pair), device=pair.device).scatter_reduce(
        0, pair, order, "amin"
    )
    kept = first[pair] == order
    return inner[kept], outer[kept], way[kept]


def _shows(seen: Fragments, inner: Tensor, outer: Tensor, depth: Tensor) -> Tensor:
    """Whether an edge at this depth is what parts two pixels: the object is on its inner side, and what is outside lies behind."""
    shown = seen.depth.flatten()
    return (
        torch.isfinite(shown[inner])
        & (shown[outer] > depth * (1 + 1e-5))
        & (shown[inner] < shown[outer])
    )
