"""Rotating splats by any rotation, not only the axis swap that .ply needs."""

import pytest
import torch

from gs3d.export.frames import WORLD_TO_PLY, quaternion_of, quaternion_product, sh_rotation
from gs3d.raster.reference import rotations, sh_basis


def random_rotations(count=8):
    gen = torch.Generator().manual_seed(0)
    return rotations(torch.randn(count, 4, generator=gen, dtype=torch.float64))


def unit_directions(count=60):
    return torch.nn.functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64), dim=1)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_sh_rotation_keeps_the_colour_of_every_turned_direction(degree):
    directions = unit_directions()
    for rotation in random_rotations():
        turned = sh_basis(directions @ rotation.T, (degree + 1) ** 2) @ sh_rotation(rotation, degree)
        assert torch.allclose(turned, sh_basis(directions, (degree + 1) ** 2), atol=1e-12)


def test_sh_rotations_are_orthogonal_and_compose():
    a, b = random_rotations(2)
    assert torch.allclose(sh_rotation(a, 3) @ sh_rotation(a, 3).T, torch.eye(16, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(sh_rotation(a @ b, 3), sh_rotation(a, 3) @ sh_rotation(b, 3), atol=1e-12)


def test_a_band_never_leaks_into_another():
    matrix = sh_rotation(random_rotations(1)[0], 3)
    for band in range(4):
        part = slice(band * band, (band + 1) ** 2)
        rest = matrix[part].clone()
        rest[:, part] = 0
        assert not rest.any()


def test_quaternion_of_a_matrix_gives_the_matrix_back():
    half_turns = torch.stack([torch.diag(torch.tensor(d, dtype=torch.float64)) for d in ([1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1])])
    matrices = torch.cat([random_rotations(), half_turns, torch.tensor([WORLD_TO_PLY], dtype=torch.float64)])
    quats = torch.stack([quaternion_of(m) for m in matrices])
    assert torch.allclose(rotations(quats), matrices, atol=1e-12)


def test_quaternion_product_is_the_matrix_product():
    gen = torch.Generator().manual_seed(2)
    a, b = torch.randn(2, 9, 4, generator=gen, dtype=torch.float64)
    assert torch.allclose(rotations(quaternion_product(a, b)), rotations(a) @ rotations(b), atol=1e-12)


def test_the_ply_frame_is_a_rotation():
    """A reflection would show every object, and every text on it, mirrored."""
    matrix = torch.tensor(WORLD_TO_PLY, dtype=torch.float64)
    assert torch.equal(matrix @ matrix.T, torch.eye(3, dtype=torch.float64)) and torch.linalg.det(matrix) == pytest.approx(1)
