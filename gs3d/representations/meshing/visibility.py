"""Find the triangle that is visible at each pixel center, without gradients.

It uses nvdiffrast on CUDA devices if that is installed, and a z-buffer in plain PyTorch otherwise.
"""

import functools
import warnings
from importlib.util import find_spec

import torch
from torch import Tensor

NEAR = 0.01
"""z-depth of the near plane. A triangle with a vertex in front of it is not drawn at all."""
MOST_PAIRS = 4_000_000
"""Maximum number of (triangle, pixel) pairs tested at a time."""
NOT_WORKING = (ImportError, AttributeError, OSError, RuntimeError)
"""What nvdiffrast raises if its version is wrong, torch is another one, or no compiler is found."""


def areas(vertices: Tensor) -> Tensor:
    """Return twice the signed areas of triangles [..., 3, 2]."""
    a, b, c = vertices.unbind(-2)
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )


def barycentrics_at(vertices: Tensor, z: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Return the barycentric coordinates of `at` [P, 2] in the image and in space, [P, 3] each.

    The triangles have image positions `vertices` [P, 3, 2] and z-depths `z` [P, 3]. The second
    result is corrected for perspective.
    """
    parts = torch.stack(
        [
            areas(torch.stack([at, vertices[:, (i + 1) % 3], vertices[:, (i + 2) % 3]], 1))
            for i in range(3)
        ],
        1,
    )
    flat = parts / areas(vertices)[:, None]
    deep = flat / z
    return flat, deep / deep.sum(1, keepdim=True)


@torch.no_grad()
def nearest(
    pixels: Tensor, z: Tensor, faces: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """Return the face and the z-depth at each pixel center, [H · W] each.

    They are −1 and infinite on the background. `pixels` [V, 2] and `z` [V] are the image positions
    and z-depths of the vertices of faces [F, 3].
    """
    drawn = ((z[faces] > NEAR).all(1) & (areas(pixels[faces]).abs() > 1e-12)).nonzero()[:, 0]
    library = _nvdiffrast(pixels.device)
    if library is not None and len(drawn):
        return by_nvdiffrast(*library, pixels, z, faces, drawn, width, height)
    return by_pairs(pixels, z, faces, drawn, width, height)


def by_pairs(
    pixels: Tensor, z: Tensor, faces: Tensor, drawn: Tensor, width: int, height: int
) -> tuple[Tensor, Tensor]:
    """Compute `nearest` for the rows `drawn` of `faces` in PyTorch.

    Each triangle is tested at each pixel of its bounding box.
    """
    best = torch.full((height * width,), torch.iinfo(torch.int64).max, device=pixels.device)
    vertices, depths = pixels[faces], z[faces]
    size = torch.tensor([width, height], device=pixels.device)
    low = (vertices[drawn].amin(1) - 0.5).ceil().long().clamp_min(0)
    high = torch.minimum((vertices[drawn].amax(1) - 0.5).floor().long(), size - 1)
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
        in_box = torch.arange(len(row), device=pixels.device) - (
            count.cumsum(0) - count
        ).repeat_interleave(count)
        column = low[row, 0] + in_box % extent[row, 0]
        line = low[row, 1] + in_box // extent[row, 0]
        face = drawn[row]
        at = torch.stack([column, line], 1) + 0.5
        flat, _ = barycentrics_at(vertices[face], depths[face], at.to(pixels.dtype))
        hit = (flat >= 0).all(1)
        depth = 1 / (flat[hit] / depths[face[hit]]).sum(1)
        # Positive floats sort like their bit patterns, so one integer holds the depth (high bits)
        # and the face (low bits).
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
    """Compute `nearest` for the rows `drawn` of `faces` with nvdiffrast (Laine et al. 2020).

    nvdiffrast rounds vertex positions to a fraction of a pixel.
    """
    size = torch.tensor([width, height], device=pixels.device)
    # nvdiffrast follows OpenGL: its first row is at y = −1. Here, y = −1 is the top row. Rows
    # proceed with growing y in both, so the image need not be flipped.
    flat = (2 * pixels / size - 1) * z[:, None]
    depths = z[faces[drawn]]
    # A tight depth range makes best use of the precision of the depth buffer.
    near, far = 0.99 * depths.min(), 1.01 * depths.max()
    deep = ((far + near) * z - 2 * far * near) / (far - near)
    clip = torch.cat([flat, deep[:, None], z[:, None]], 1).float().contiguous()
    found, _ = library.rasterize(
        context, clip[None], faces[drawn].int().contiguous(), (height, width), grad_db=False
    )
    which = found[0, :, :, 3].flatten().long() - 1
    seen = (which >= 0).nonzero()[:, 0]
    face = torch.full_like(which, -1).index_copy(0, seen, drawn[which[seen]])
    rows = faces[face[seen]]
    weights, _ = barycentrics_at(
        pixels[rows],
        z[rows],
        (torch.stack([seen % width, seen // width], 1) + 0.5).to(pixels.dtype),
    )
    weights = weights.clamp_min(0)
    depth = weights.sum(1) / (weights / z[rows]).sum(1)
    return face, torch.full(which.shape, torch.inf, device=z.device).index_copy(
        0, seen, depth.float()
    )


def has_nvdiffrast() -> bool:
    """Return whether nvdiffrast is installed."""
    return find_spec("nvdiffrast") is not None


def open_nvdiffrast(device: torch.device | str):
    """Return the nvdiffrast module and a context on a CUDA device.

    Some versions compile the context on first use, which takes minutes.

    Raises:
        NOT_WORKING: One of these exceptions, if nvdiffrast does not work.
    """
    # Optional: nobody needs to install it.
    import nvdiffrast.torch as library  # pyright: ignore[reportMissingImports]

    return library, library.RasterizeCudaContext(device)


@functools.cache
def _nvdiffrast(device: torch.device):
    """Return the nvdiffrast module and a context on `device`.

    Returns None if nvdiffrast is not installed or does not work, or `device` is not a CUDA device.
    """
    if device.type != "cuda" or not has_nvdiffrast():
        return None
    try:
        return open_nvdiffrast(device)
    except NOT_WORKING as error:
        why = " ".join(str(error).split())[:200]
        warnings.warn(
            f"nvdiffrast is installed but does not work ({why}); "
            "gs3d rasterizes triangles in PyTorch instead. Reinstall nvdiffrast to use it.",
            stacklevel=2,
        )
        return None
