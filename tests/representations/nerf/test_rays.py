"""Ray directions, ray sampling, compositing weights and the occupancy grid."""

import math

import pytest
import torch

from gs3d.core.cameras import rays, ring
from gs3d.core.rng import generator
from gs3d.representations.nerf.occupancy import Occupancy
from gs3d.representations.nerf.rays import compositing_weights, intersect_unit_sphere


def test_rays_pass_through_pixel_centers():
    cameras = ring(3, 16)
    directions, z_per_distance = rays(cameras)
    points = cameras.centers[:, None, None] + 2.5 * directions
    local = (
        torch.einsum("bij,bhwj->bhwi", cameras.world_to_camera[:, :3, :3], points)
        + cameras.world_to_camera[:, None, None, :3, 3]
    )
    pixels = torch.einsum("bij,bhwj->bhwi", cameras.intrinsics, local / local[..., 2:])
    rows, columns = torch.meshgrid(torch.arange(16) + 0.5, torch.arange(16) + 0.5, indexing="ij")
    assert torch.allclose(pixels[..., 0], columns.expand(3, 16, 16), atol=1e-3)
    assert torch.allclose(pixels[..., 1], rows.expand(3, 16, 16), atol=1e-3)
    assert torch.allclose(local[..., 2], 2.5 * z_per_distance, atol=1e-5)


def test_intersections_with_the_unit_sphere():
    origins = torch.tensor([[3.0, 0, 0], [3, 0, 0], [3, 0, 0], [0, 0, 0]])
    directions = torch.tensor([[-1.0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]])
    near, far = intersect_unit_sphere(origins, directions)
    assert near.tolist() == [2, 0, 0, 0] and far.tolist() == [4, 0, 0, 1]


def test_weights_of_constant_density():
    weights = compositing_weights(torch.full((2, 50), 3.0), torch.tensor([[0.02], [0.0]]))
    assert weights[0].sum() == pytest.approx(1 - math.exp(-3.0), rel=1e-5)
    assert weights[0, 10] == pytest.approx(math.exp(-0.6) * (1 - math.exp(-0.06)), rel=1e-5)
    assert not weights[1].any()


def test_weights_pass_gradcheck():
    density = torch.rand(3, 7, dtype=torch.float64, generator=generator(1, "d")).requires_grad_()
    torch.autograd.gradcheck(
        lambda d: compositing_weights(d, torch.full((3, 1), 0.3, dtype=torch.float64)), density
    )


def test_occupancy_follows_the_densities_of_updates():
    grid = Occupancy(8)
    points = grid.points(generator(0, "cells"))
    assert grid.at(torch.tensor([[0.0, 0, 0], [1.5, 0, 0], [0, -1.01, 0]])).tolist() == [
        True,
        False,
        False,
    ]
    grid.update((points[:, 0] > 0.25).float() * 9, threshold=1.0)
    assert grid.at(torch.tensor([[0.9, 0, 0], [-0.9, 0, 0], [-0.1, 0.9, 0.9]])).tolist() == [
        True,
        False,
        False,
    ]
    for _ in range(15):
        grid.update(torch.zeros(512), threshold=1.0)
    grid.update((points[:, 1] > 0.25).float() * 9, threshold=1.0)
    assert grid.at(torch.tensor([[0.9, -0.9, 0], [-0.9, 0.9, 0]])).tolist() == [False, True]


def test_number_of_occupied_voxels_follows_the_grid():
    grid = Occupancy(4)
    assert grid.count() == 64
    density = torch.zeros(64)
    density[:5] = 1.0
    grid.update(density, 0.5)
    assert grid.count() == int(grid.occupied.sum()) == 5
    grid.occupied = torch.zeros(64, dtype=torch.bool)
    assert grid.count() == 0


def test_a_voxel_without_a_density_does_not_empty_the_grid():
    grid, density = Occupancy(4), torch.ones(64)
    density[0] = math.nan
    grid.update(density, 0.5)
    assert grid.count() == 63
