"""Turning splats from one frame into another: positions, rotations, and the bands of spherical harmonics."""

import torch
from torch import Tensor

from gs3d.core.types import Splats
from gs3d.ops.blocks import blocks
from gs3d.raster.reference import sh_basis

WORLD_TO_PLY = ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0))
"""Rows are the file's axes in the world: x = −world y (the object's right), y = −world z (down), z = world x (front). See ply.py."""
WORLD_TO_GLTF = ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
"""x = world y (the object's left), y = world z (up), z = world x (front): +Y up and the front towards +Z, as glTF has it."""


def quaternion_of(rotation: Tensor) -> Tensor:
    """Unit quaternion wxyz [4] with w ≥ 0 of a rotation matrix [3, 3]."""
    r = rotation
    # K's largest eigenvalue belongs to the quaternion (Bar-Itzhack, 2000). Unlike formulas by the trace it has no special cases.
    k = torch.zeros(4, 4, dtype=r.dtype)
    k[0, 0] = r.trace()
    k[0, 1:] = k[1:, 0] = torch.stack([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]])
    k[1:, 1:] = r + r.T - r.trace() * torch.eye(3, dtype=r.dtype)
    q = torch.linalg.eigh(k).eigenvectors[:, -1]
    return -q if q[0] < 0 else q


def quaternion_product(a: Tensor, b: Tensor) -> Tensor:
    """a·b, wxyz: the rotation b followed by a. [..., 4]."""
    aw, ax, ay, az = a.unbind(dim=-1)
    bw, bx, by, bz = b.unbind(dim=-1)
    w = aw * bw - ax * bx - ay * by - az * bz
    x = aw * bx + ax * bw + ay * bz - az * by
    y = aw * by - ax * bz + ay * bw + az * bx
    z = aw * bz + ax * by - ay * bx + az * bw
    return torch.stack([w, x, y, z], dim=-1)


def sh_rotation(rotation: Tensor, degree: int) -> Tensor:
    """The matrix D [(degree + 1)²]² for which basis(R·d)·D = basis(d) at every direction d, so that D·c is the color c turned by R.

    A rotation maps each band l into itself, so D has one block of 2l + 1 a band. Each is fitted by least squares over directions spread on
    the sphere; as there are many more directions than unknowns and an exact answer exists, the fit is exact up to rounding.
    """
    count = 128
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z, angle = 1 - 2 * index / count, index * (torch.pi * (3 - 5**0.5))  # a Fibonacci spiral
    radius = (1 - z * z).sqrt()
    directions = torch.stack([radius * angle.cos(), radius * angle.sin(), z], dim=1)
    before = sh_basis(directions, (degree + 1) ** 2)
    after = sh_basis(directions @ rotation.T, (degree + 1) ** 2)
    blocks = []
    for band in range(degree + 1):
        part = slice(band * band, (band + 1) ** 2)
        blocks.append(torch.linalg.lstsq(after[:, part], before[:, part]).solution)
    full = torch.block_diag(*blocks)
    return torch.where(
        full.abs() < 1e-12, 0, full
    )  # rounding; without it an axis swap would not give exact signs


def rotate_splats(splats: Splats, rotation: Tensor, out: Splats | None = None) -> Splats:
    """`splats` turned about the origin by `rotation` [3, 3]: on the CPU, without gradient, float64 where they are and float32 elsewhere.

    Scales and opacities are theirs, not copies. `out` may be `splats` themselves, of contiguous tensors, which are then changed.
    """
    rotation = rotation.double()
    parts = {name: part.detach().cpu() for name, part in vars(splats).items()}
    parts = {
        name: part if part.dtype == torch.float64 else part.float() for name, part in parts.items()
    }
    degree = round(splats.sh.shape[1] ** 0.5) - 1
    # Each is a matrix that rows are multiplied by. That of the harmonics is mostly zeros, and still the fastest: its rows are as they lie.
    matrices = {
        "means": rotation.T,
        "quats": quaternion_product(quaternion_of(rotation), torch.eye(4, dtype=torch.float64)),
        "sh": torch.kron(sh_rotation(rotation, degree), torch.eye(3, dtype=torch.float64)).T,
    }
    made = (
        {
            name: torch.empty_like(parts[name], memory_format=torch.contiguous_format)
            for name in matrices
        }
        if out is None
        else vars(out)
    )
    for name, matrix in matrices.items():
        before, after = parts[name].flatten(1), made[name].view(len(splats), -1)
        matrix = matrix.to(before.dtype)
        for rows in blocks(len(splats)):
            after[rows] = before[rows] @ matrix
    return Splats(**(parts | made))
