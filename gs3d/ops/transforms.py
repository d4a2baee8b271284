"""Rotation of splats between coordinate systems: means, quaternions and spherical harmonics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core.types import Splats
from gs3d.ops.blocks import blocks
from gs3d.raster.reference import sh_basis

if TYPE_CHECKING:
    from jaxtyping import Float

WORLD_TO_PLY = ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0))
"""Rows are the file's axes in world coordinates: x = −world y (the object's right), y = −world z
(down), z = world x (front). See `io/splats/ply.py`."""
WORLD_TO_GLTF = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
"""Rows are the file's axes: x = world y (the object's left), y = world z (up), z = world x (front).
glTF requires +Y up and the front towards +Z."""


def quaternion_of(rotation: Float[Tensor, "3 3"]) -> Float[Tensor, " 4"]:
    """Unit quaternion wxyz with w ≥ 0 of a rotation matrix (Bar-Itzhack, 2000).

    It is the eigenvector of the largest eigenvalue of the matrix K. Unlike formulas with the trace,
    this has no special cases.
    """
    r = rotation
    k = torch.zeros(4, 4, dtype=r.dtype)
    k[0, 0] = r.trace()
    k[0, 1:] = k[1:, 0] = torch.stack([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    k[1:, 1:] = r + r.T - r.trace() * torch.eye(3, dtype=r.dtype)
    q = torch.linalg.eigh(k).eigenvectors[:, -1]
    return -q if q[0] < 0 else q


def quaternion_product(
    a: Float[Tensor, "... 4"], b: Float[Tensor, "... 4"]
) -> Float[Tensor, "... 4"]:
    """Product a·b of quaternions wxyz: the rotation b followed by a."""
    aw, ax, ay, az = a.unbind(dim=-1)
    bw, bx, by, bz = b.unbind(dim=-1)
    w = aw * bw - ax * bx - ay * by - az * bz
    x = aw * bx + ax * bw + ay * bz - az * by
    y = aw * by - ax * bz + ay * bw + az * bx
    z = aw * bz + ax * by - ay * bx + az * bw
    return torch.stack([w, x, y, z], dim=-1)


def sh_rotation(rotation: Float[Tensor, "3 3"], degree: int) -> Float[Tensor, "K K"]:
    """Matrix D that rotates coefficients of spherical harmonics, K = (degree + 1)².

    basis(R·d)·D = basis(d) for every direction d, so D·c is the color function c rotated by R. A
    rotation maps each band l to itself, so D has a block of size 2l + 1 per band. Each block is
    fitted by least squares over directions spread on the sphere. There are many more directions
    than unknowns and an exact solution exists, so the fit is exact up to rounding.
    """
    count = 128
    index = torch.arange(count, dtype=torch.float64) + 0.5
    # The directions form a Fibonacci spiral.
    z, angle = 1 - 2 * index / count, index * (torch.pi * (3 - 5**0.5))
    radius = (1 - z * z).sqrt()
    directions = torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=1)
    before = sh_basis(directions, (degree + 1) ** 2)
    after = sh_basis(directions @ rotation.T, (degree + 1) ** 2)
    bands = []
    for band in range(degree + 1):
        part = slice(band * band, (band + 1) ** 2)
        bands.append(torch.linalg.lstsq(after[:, part], before[:, part]).solution)
    full = torch.block_diag(*bands)
    # Clears rounding errors, so that an axis swap only permutes and negates coefficients.
    return torch.where(full.abs() < 1e-12, 0, full)


def rotate_splats(
    splats: Splats, rotation: Float[Tensor, "3 3"], out: Splats | None = None
) -> Splats:
    """Rotate `splats` about the origin by the matrix `rotation`, without gradients.

    Computes on the CPU, in float64 for float64 inputs and in float32 otherwise. Scales and
    opacities are shared with the input, not copied. `out` may be `splats` themselves if they are
    contiguous; they are then changed in place.
    """
    rotation = rotation.double()
    parts = {name: part.detach().cpu() for name, part in vars(splats).items()}
    parts = {
        name: part if part.dtype == torch.float64 else part.float() for name, part in parts.items()
    }
    degree = round(splats.sh.shape[1] ** 0.5) - 1
    # Rows are multiplied by these matrices. The one for harmonics is mostly zeros. It is still the
    # fastest way, because rows are used as they lie in memory.
    matrices = {
        "means": rotation.T,
        "quats": quaternion_product(quaternion_of(rotation), torch.eye(4, dtype=torch.float64)),
        "sh": torch.kron(sh_rotation(rotation, degree), torch.eye(3, dtype=torch.float64)).T,
    }
    rotated = (
        {
            name: torch.empty_like(parts[name], memory_format=torch.contiguous_format)
            for name in matrices
        }
        if out is None
        else vars(out)
    )
    for name, matrix in matrices.items():
        before, after = parts[name].flatten(1), rotated[name].view(len(splats), -1)
        matrix = matrix.to(before.dtype)
        for rows in blocks(len(splats)):
            after[rows] = before[rows] @ matrix
    return Splats(**(parts | rotated))
