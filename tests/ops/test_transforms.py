"""Rotation of splats by arbitrary matrices, not only by the axis swap of .ply."""

import pytest
import torch

from gs3d.core.types import Splats
from gs3d.ops.transforms import (
    WORLD_TO_PLY,
    quaternion_of,
    quaternion_product,
    rotate_splats,
    sh_rotation,
)
from gs3d.raster.reference import rotations, sh_basis


def random_rotations(count=8):
    gen = torch.Generator().manual_seed(0)
    return rotations(torch.randn(count, 4, generator=gen, dtype=torch.float64))


def unit_directions(count=60):
    return torch.nn.functional.normalize(
        torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
        dim=1,
    )


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_sh_rotation_keeps_the_color_of_every_rotated_direction(degree):
    directions = unit_directions()
    for rotation in random_rotations():
        basis = sh_basis(directions @ rotation.T, (degree + 1) ** 2)
        expected = sh_basis(directions, (degree + 1) ** 2)
        assert torch.allclose(basis @ sh_rotation(rotation, degree), expected, atol=1e-12)


def test_sh_rotations_are_orthogonal_and_compose():
    a, b = random_rotations(2)
    assert torch.allclose(
        sh_rotation(a, 3) @ sh_rotation(a, 3).T, torch.eye(16, dtype=torch.float64), atol=1e-12
    )
    assert torch.allclose(sh_rotation(a @ b, 3), sh_rotation(a, 3) @ sh_rotation(b, 3), atol=1e-12)


def test_sh_rotation_does_not_mix_bands():
    matrix = sh_rotation(random_rotations(1)[0], 3)
    for band in range(4):
        part = slice(band * band, (band + 1) ** 2)
        rest = matrix[part].clone()
        rest[:, part] = 0
        assert not rest.any()


def test_quaternion_of_a_matrix_gives_the_same_rotation():
    half_turns = torch.stack(
        [
            torch.diag(torch.tensor(d, dtype=torch.float64))
            for d in ([1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1])
        ]
    )
    matrices = torch.cat(
        [random_rotations(), half_turns, torch.tensor([WORLD_TO_PLY], dtype=torch.float64)]
    )
    quats = torch.stack([quaternion_of(m) for m in matrices])
    assert torch.allclose(rotations(quats), matrices, atol=1e-12)


def test_quaternion_product_is_the_matrix_product():
    gen = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 9, 4, generator=gen, dtype=torch.float64)
    assert torch.allclose(
        rotations(quaternion_product(a, b)), rotations(a) @ rotations(b), atol=1e-12
    )


def test_world_to_ply_is_a_rotation_not_a_reflection():
    """A reflection would mirror every object, and all text on it."""
    matrix = torch.tensor(WORLD_TO_PLY, dtype=torch.float64)
    assert torch.equal(matrix @ matrix.T, torch.eye(3, dtype=torch.float64))
    assert torch.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotate_splats_keeps_the_precision_and_can_work_in_place(dtype):
    """With a rotation that mixes all axes, and more splats than a block holds."""
    gen = torch.Generator().manual_seed(3)
    shapes = ((3,), (4,), (3,), (), (16, 3))
    splats = Splats(
        *(
            torch.randn(9000, *shape, generator=gen, dtype=torch.float64).to(dtype)
            for shape in shapes
        )
    )
    rotation = random_rotations(1)[0]
    rotated = rotate_splats(splats, rotation)
    assert all(part.dtype == dtype for part in vars(rotated).values())
    exact = torch.einsum("jk,nkc->njc", sh_rotation(rotation, 3), splats.sh.double())
    error = 1e-6 if dtype == torch.float32 else 1e-14
    assert (rotated.sh - exact).norm() < error * exact.norm()
    means = splats.means.double() @ rotation.T
    assert (rotated.means - means).norm() < error * splats.means.norm()
    quats = quaternion_product(quaternion_of(rotation), splats.quats.double())
    assert (rotated.quats - quats).norm() < error * quats.norm()
    assert rotate_splats(splats, rotation, out=splats).sh is splats.sh
    assert all(
        (a - b).norm() <= error * a.norm()
        for a, b in zip(vars(rotated).values(), vars(splats).values(), strict=True)
    )
