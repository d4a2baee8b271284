"""Rotating splats by any rotation, not only the axis swap that .ply needs."""

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
def test_sh_rotation_keeps_the_color_of_every_turned_direction(degree):
    directions = unit_directions()
    for rotation in random_rotations():
        turned = sh_basis(directions @ rotation.T, (degree + 1) ** 2) @ sh_rotation(
            rotation, degree
        )
        assert torch.allclose(turned, sh_basis(directions, (degree + 1) ** 2), atol=1e-12)


def test_sh_rotations_are_orthogonal_and_compose():
    a, b = random_rotations(2)
    assert torch.allclose(
        sh_rotation(a, 3) @ sh_rotation(a, 3).T, torch.eye(16, dtype=torch.float64), atol=1e-12
    )
    assert torch.allclose(sh_rotation(a @ b, 3), sh_rotation(a, 3) @ sh_rotation(b, 3), atol=1e-12)


def test_a_band_never_leaks_into_another():
    matrix = sh_rotation(random_rotations(1)[0], 3)
    for band in range(4):
        part = slice(band * band, (band + 1) ** 2)
        rest = matrix[part].clone()
        rest[:, part] = 0
        assert not rest.any()


def test_quaternion_of_a_matrix_gives_the_matrix_back():
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


def test_the_ply_frame_is_a_rotation():
    """A reflection would show every object, and every text on it, mirrored."""
    matrix = torch.tensor(WORLD_TO_PLY, dtype=torch.float64)
    assert torch.equal(matrix @ matrix.T, torch.eye(3, dtype=torch.float64)) and torch.linalg.det(
        matrix
    ) == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_splats_are_turned_in_their_own_precision_and_in_place_if_so_asked(dtype):
    """A turn that mixes all axes, of more splats than are turned at once."""
    gen = torch.Generator().manual_seed(3)
    shapes = ((3,), (4,), (3,), (), (16, 3))
    splats = Splats(
        *(
            torch.randn(9000, *shape, generator=gen, dtype=torch.float64).to(dtype)
            for shape in shapes
        )
    )
    rotation = random_rotations(1)[0]
    made = rotate_splats(splats, rotation)
    assert all(part.dtype == dtype for part in vars(made).values())
    exact = torch.einsum("jk,nkc->njc", sh_rotation(rotation, 3), splats.sh.double())
    error = 1e-6 if dtype == torch.float32 else 1e-14
    assert (made.sh - exact).norm() < error * exact.norm()
    assert (made.means - splats.means.double() @ rotation.T).norm() < error * splats.means.norm()
    wanted = quaternion_product(quaternion_of(rotation), splats.quats.double())
    assert (made.quats - wanted).norm() < error * wanted.norm()
    assert rotate_splats(splats, rotation, out=splats).sh is splats.sh
    assert all(
        (a - b).norm() <= error * a.norm()
        for a, b in zip(vars(made).values(), vars(splats).values(), strict=True)
    )
