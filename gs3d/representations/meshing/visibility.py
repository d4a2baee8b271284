"""Which triangle a pixel's center sees, without gradient: a z-buffer in plain PyTorch, or nvdiffrast where CUDA and it are there."""

import functools
import warnings
from importlib.util import find_spec

import torch
from torch import Tensor

NEAR = 0.01
"""z-depth before which nothing is drawn; a triangle with a corner there is left out whole."""
MOST_PAIRS = 4_000_000
"""Pairs of triangle and pixel that are tested at a time."""
NOT_WORKING = (ImportError, AttributeError, OSError, RuntimeError)
"""What a library raises that is of another version, was built for another torch, or finds no compiler."""


def areas(corners: Tensor) -> Tensor:
    """Twice the signed area of triangles [..., 3, 2]."""
    a, b, c = corners.unbind(-2)
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )


def shares_at(corners: Tensor, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Corners [P, 3, 2] with z-depths [P, 3] and a place [P, 2] → shares in the picture, and in perspective, [P, 3] each."""
    parts = torch.stack(
        [
            areas(torch.stack([at, corners[:, (i + 1) % 3], corners[:, (i + 2) % 3]], 1))
            for i in range(3)
        ],
        1,
    )
    flat = parts / areas(corners)[:, None]
    deep = flat / z
    return flat, deep / deep.sum(1, keepdim=True)


@torch.no_grad()
def nearest(
    pixels: Tensor, z: Tensor, faces: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """The face (−1: none) and the z-depth (infinite) at each pixel's center, [H · W] each.

    pixels [V, 2] and z-depths [V] of the corners of faces [F, 3].
    """
    drawn = ((z[faces] > NEAR).all(1) & (areas(pixels[faces]).abs() > 1e-12)).nonzero()[:, 0]
    library = _nvdiffrast(pixels.device)
    if library is not None and len(drawn):
        return by_nvdiffrast(*library, pixels, z, faces, drawn, width, height)
    return by_pairs(pixels, z, faces, drawn, width, height)


def by_pairs(
    pixels: Tensor, z: Tensor, faces: Tensor, drawn: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """`nearest` of the rows `drawn` of `faces`: every triangle is tried at every pixel of its box."""
    best = torch.full((height * width,), torch.iinfo(torch.int64).max, device=pixels.device)
    corners, depths = pixels[faces], z[faces]
    size = torch.tensor([width, height], device=pixels.device)
    low = (corners[drawn].amin(1) - 0.5).ceil().long().clamp_min(0)
    high = torch.minimum((corners[drawn].amax(1) - 0.5).floor().long(), size - 1)
    extent = (high - low + 1).clamp_min(0)
    pairs = extent.prod(1)
    drawn, low, extent, pairs = (t[pairs > 0] for t in (drawn, low, extent, pairs))
    total = pairs.cumsum(0)
    begin = 0
    while begin < len(drawn):
        done = total[begin - 1] if begin else 0
        end = max(begin + 1, int(torch.searchsorted(total, done + MOST_PAIRS, right=True)))
        count = pairs[begin:end]
        row = torch.arange(begin, end, device=pixels.device).repeat_interleave(count)
        within = torch.arange(len(row), device=pixels.device) - (
            count.cumsum(0) - count
        ).repeat_interleave(count)
        column = low[row, 0] + within % extent[row, 0]
        line = low[row, 1] + within // extent[row, 0]
        face = drawn[row]
        at = torch.stack([column, line], 1) + 0.5
        flat, _ = shares_at(corners[face], depths[face], at.to(pixels.dtype))
        hit = (flat >= 0).all(1)
        depth = 1 / (flat[hit] / depths[face[hit]]).sum(1)
        # Positive floats sort as their bits do: depth first, then the face, in one number.
        key = (depth.float().view(torch.int32).long() << 32) | face[hit]
        best.scatter_reduce_(0, line[hit] * width + column[hit], key, "amin")
        begin = end
    seen = best < torch.iinfo(torch.int64).max
    face = torch.where(seen, best & 0xFFFFFFFF, -1)
    depth = torch.where(seen, (best >> 32).int().view(torch.float32), torch.inf)
    return face, depth


def by_nvdiffrast(
    library,
    context,
    pixels: Tensor,
    z: Tensor,
    faces: Tensor,
    drawn: Tensor,
    width: int,
    height: int,
):
    """`nearest` of the rows `drawn` of `faces`, by the rasterizer of Laine et al. (2020), which rounds corners to a part of a pixel."""
    size = torch.tensor([width, height], device=pixels.device)
    # Its first row is at −1, as OpenGL's, and ours is at the top: both go on with growing y, so nothing has to be turned.
    flat = (2 * pixels / size - 1) * z[:, None]
    depths = z[faces[drawn]]
    near, far = (
        0.99 * depths.min(),
        1.01 * depths.max(),
    )  # as close as can be, for the sake of its depth buffer
    deep = ((far + near) * z - 2 * far * near) / (far - near)
    clip = torch.cat([flat, deep[:, None], z[:, None]], 1).float().contiguous()
    found, _ = library.rasterize(
        context, clip[None], faces[drawn].int().contiguous(), (height, width), grad_db=False
    )
    which = found[0, :, :, 3].flatten().long() - 1
    seen = (which >= 0).nonzero()[:, 0]
    face = torch.full_like(which, -1).index_copy(0, seen, drawn[which[seen]])
    rows = faces[face[seen]]
    shares, _ = shares_at(
        pixels[rows],
        z[rows],
        (torch.stack([seen % width, seen // width], 1) + 0.5).to(pixels.dtype),
    )
    shares = shares.clamp_min(0)
    depth = shares.sum(1) / (shares / z[rows]).sum(1)
    return face, torch.full(which.shape, torch.inf, device=z.device).index_copy(
        0, seen, depth.float()
    )


def has_nvdiffrast() -> bool:
    """Whether it is installed."""
    return find_spec("nvdiffrast") is not None


def open_nvdiffrast(device: torch.device | str):
    """The library and its context, which some versions compile the first time, for minutes. One of NOT_WORKING where that fails."""
    import nvdiffrast.torch as library

    return library, library.RasterizeCudaContext(device)


@functools.cache
def _nvdiffrast(device: torch.device):
    """The library and its context on a device; None where it is not installed or does not work, and off CUDA."""
    if device.type != "cuda" or not has_nvdiffrast():
        return None
    try:
        return open_nvdiffrast(device)
    except NOT_WORKING as error:
        why = " ".join(str(error).split())[:200]
        warnings.warn(
            f"nvdiffrast is installed but does not work ({why}); gs3d draws triangles without it",
            stacklevel=2,
        )
        return None
