"""Editing of splats (`clean`), and their extent."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.types import Splats
from gs3d.ops import clean
from gs3d.ops.extent import box_of, center_of, reach_of
from gs3d.raster.reference import rotations, sh_basis


def splats_at(means, scale: float = 0.02, opacity: float = 0.9, degree: int = 0) -> Splats:
    means = torch.as_tensor(means, dtype=torch.float32)
    n = len(means)
    quats = torch.tensor([[1.0, 0, 0, 0]]).repeat(n, 1)
    return Splats(
        means,
        quats,
        torch.full((n, 3), scale),
        torch.full((n,), opacity),
        torch.zeros(n, (degree + 1) ** 2, 3),
    )


def sphere(count: int = 3000, radius: float = 0.9, seed: int = 0) -> torch.Tensor:
    """Random points on a sphere, [count, 3]."""
    return radius * torch.nn.functional.normalize(
        torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)), dim=1
    )


def same(a: Splats, b: Splats) -> bool:
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


# Extent


def test_extent_ignores_outliers_but_contains_all_of_a_few_splats():
    means = torch.cat([sphere(5000), torch.tensor([[1000.0, 0, 0], [0, -1e6, 0]])])
    low, high = box_of(means)
    assert (np.abs(low + 0.9) < 0.01).all() and (np.abs(high - 0.9) < 0.01).all()
    assert reach_of(means) == pytest.approx(0.9, rel=1e-5)
    few = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 3, 0]])
    assert center_of(few).tolist() == [0.5, 1.5, 0] and reach_of(few) == 3
    assert reach_of(few, (0, 3, 0)) == pytest.approx(math.sqrt(10))


# Removing


def test_crop_includes_the_bounds_of_its_box():
    splats = splats_at([[0, 0, 0], [1, 1, 1], [1.01, 0, 0], [0, 0, -0.01]])
    assert clean.crop(splats, (0, 0, 0), (1, 1, 1)).means.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert len(splats) == 4 and len(clean.crop(splats, (5, 5, 5), (6, 6, 6))) == 0


def test_drop_clear_removes_opacities_below_the_limit():
    splats = replace(splats_at(torch.zeros(3, 3)), opacities=torch.tensor([0.019, 0.02, 1.0]))
    assert clean.drop_clear(splats, 0.02).opacities.tolist() == splats.opacities[1:].tolist()


def test_drop_large_is_relative_to_the_radius_about_the_center():
    splats = splats_at(sphere(radius=2) + 100)
    splats.scales[7, 2] = 0.9
    splats.scales[11, 0] = 1.1
    left = clean.drop_large(splats, 0.5)
    assert len(left) == len(splats) - 1 and left.scales.max() == pytest.approx(0.9)
    assert len(clean.drop_large(splats_at([[1.0, 0, 0]]), 0.5)) == 1  # radius 0


def test_drop_floaters_removes_single_splats_and_groups_but_keeps_parts():
    body, part = sphere(4000), sphere(400, radius=0.2, seed=1) + torch.tensor([2.5, 0, 0])
    alone = torch.tensor([[0.0, 0, 3], [0, 0, 0], [-40, 2, 1], [0, 2, 0]])
    group = sphere(15, radius=0.02, seed=2) + torch.tensor([0, 0, -4.0])
    splats = splats_at(torch.cat([alone[:2], body, group, part, alone[2:]]))
    expected = torch.cat([body, part])
    for factor in (1, 1e-3, 1e3):  # the rule does not depend on scale
        left = clean.drop_floaters(replace(splats, means=splats.means * factor))
        assert torch.equal(left.means, expected * factor)


def test_a_grid_coincident_splats_and_a_few_splats_have_no_floaters():
    axis = torch.arange(12.0)
    grid = torch.cartesian_prod(axis, axis, axis)
    assert len(clean.drop_floaters(splats_at(grid))) == len(grid)
    assert len(clean.drop_floaters(splats_at(torch.zeros(3000, 3)))) == 3000
    few = torch.tensor([[0.0, 0, 0]] * 19 + [[9.0, 9, 9]])
    assert len(clean.drop_floaters(splats_at(few))) == 20
    assert len(clean.drop_floaters(splats_at(torch.zeros(0, 3)))) == 0


def test_a_dense_cluster_within_a_surface_is_not_a_floater():
    """Densification leaves many splats almost at one point.

    Their nearest neighbors are all in the same cluster.
    """
    knot = sphere(1)[0] + 1e-6 * torch.randn(14, 3, generator=torch.Generator().manual_seed(3))
    means = torch.cat([sphere(3000), knot])
    assert len(clean.drop_floaters(splats_at(means))) == len(means)


def test_varying_density_causes_no_floaters():
    dense, sparse = sphere(3000, radius=0.3), sphere(1500, radius=0.95, seed=1)
    assert len(clean.drop_floaters(splats_at(torch.cat([dense, sparse])))) == 4500


def test_scattered_floaters_are_removed():
    """Splats that are as far from each other as from the object."""
    scattered = 6 * torch.rand(60, 3, generator=torch.Generator().manual_seed(6)) - 3
    scattered = scattered[(scattered.norm(dim=1) - 0.9).abs() > 0.5]
    assert len(scattered) > 40
    assert len(clean.drop_floaters(splats_at(torch.cat([sphere(6000), scattered])))) == 6000


def test_most_important_keeps_the_largest_opacity_times_area():
    splats = splats_at(torch.arange(15.0).reshape(5, 3))
    splats.scales[:] = torch.tensor(
        [[1.0, 1, 1], [2, 2, 0.001], [9, 0.1, 0.1], [1, 1, 1], [0.1, 3, 0.5]]
    )
    # Opacity × area: 0.5, 1, 0.9, 0.4, 1.5.
    splats.opacities[:] = torch.tensor([0.5, 0.25, 1.0, 0.4, 1.0])
    assert torch.equal(clean.most_important(splats, 3).means, splats.means[[1, 2, 4]])
    assert same(clean.most_important(splats, 99), splats)
    tied = splats_at(torch.arange(9.0).reshape(3, 3))
    assert torch.equal(clean.most_important(tied, 2).means, tied.means[:2])


# Moving


def test_centered_and_fitted_set_center_and_radius():
    splats = splats_at(sphere(2000, radius=3) + torch.tensor([10.0, -20, 5]), scale=0.3)
    moved = clean.fitted(clean.centered(splats), 1.0)
    assert np.abs(center_of(moved.means)).max() < 1e-5
    assert reach_of(moved.means) == pytest.approx(1, abs=1e-5)
    assert moved.scales.max() == pytest.approx(0.1, rel=1e-2)
    assert moved.means.dtype == torch.float32
    alone = splats_at([[0.0, 0, 0]])
    assert same(clean.fitted(alone, 5.0), alone)


def test_rotation_is_about_x_then_y_then_z():
    front, left, up = torch.eye(3)
    axes = splats_at(torch.stack([front, left, up]))
    rotated = clean.rotated(axes, 90, 0, 90)
    assert torch.allclose(rotated.means, torch.stack([left, up, front]), atol=1e-6)
    rotated = clean.rotated(axes, 0, 90, 0)
    assert torch.allclose(rotated.means, torch.stack([-up, left, front]), atol=1e-6)


def test_rotation_applies_to_quaternions_and_harmonics():
    gen = torch.Generator().manual_seed(4)
    splats = replace(
        splats_at(torch.randn(20, 3, generator=gen)),
        quats=torch.randn(20, 4, generator=gen),
        sh=torch.randn(20, 16, 3, generator=gen),
    )
    rotated = clean.rotated(splats, 10, 20, 30)
    matrix = clean.rotated(splats_at(torch.eye(3)), 10, 20, 30).means.T.double()
    assert torch.allclose(
        rotations(rotated.quats.double()), matrix @ rotations(splats.quats.double()), atol=1e-6
    )
    directions = sphere(50, radius=1).double()
    before = torch.einsum("dk,nkc->ndc", sh_basis(directions, 16), splats.sh.double())
    after = torch.einsum("dk,nkc->ndc", sh_basis(directions @ matrix.T, 16), rotated.sh.double())
    assert torch.allclose(before, after, atol=1e-5)


def test_lower_degree_drops_harmonics_and_never_adds_any():
    splats = splats_at(torch.zeros(3, 3), degree=3)
    assert [clean.lower_degree(splats, d).sh.shape[1] for d in (0, 1, 2, 3)] == [1, 4, 9, 16]
    assert same(clean.lower_degree(clean.lower_degree(splats, 1), 2), clean.lower_degree(splats, 1))
