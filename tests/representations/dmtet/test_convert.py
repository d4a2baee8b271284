"""Initialization of a DMTet surface from a field or from splats, with their colors."""

import dataclasses
import math

import pytest
import torch
from scipy.optimize import brentq
from scipy.special import k1

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.core.types import SH_C0, Splats
from gs3d.raster import rasterize
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.dmtet.convert import (
    MISSED_SHARE,
    distance_of,
    surface_of_field,
    surface_of_splats,
)
from gs3d.representations.dmtet.dmtet import Dmtet
from gs3d.representations.dmtet.tets import tet_grid
from gs3d.representations.nerf.field import Field, FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from tests.representations.dmtet.test_tets import is_closed, mesh_volume

FIELD = FieldConfig(grid=HashGridConfig(levels=4, log2_size=12, coarsest=4, finest=32), hidden=16)
SMALL = DmtetConfig(resolution=20, field=FIELD)


def blob(strength=5.0, bias=0.0):
    """Return the initial field, with `bias` added to the log density."""
    field = Field(dataclasses.replace(FIELD, blob_strength=strength), generator(0, "field"))
    with torch.no_grad():
        field.density_out.bias += bias
    return field


def test_surface_of_field_has_its_silhouette_and_colors():
    field = blob()
    surface = surface_of_field(field, SMALL)
    mesh = surface.surface_mesh()
    assert is_closed(mesh.faces)
    # The density integral of a ray at distance b from the center is 2 b e⁵ K₁(10 b). The ray has
    # alpha 0.5 where that is ln 2.
    rim = brentq(lambda b: 2 * b * math.exp(5) * k1(10 * b) - math.log(2), 0.3, 0.9)
    radius = float(mesh.points.detach().norm(dim=1).mean())
    assert math.sqrt(1 - MISSED_SHARE) * rim - 0.05 < radius < rim  # the grid spacing is 0.1
    points = mesh.points.detach()
    assert torch.allclose(surface.colors.albedo(points), field(points, 1.0).albedo)
    assert surface.colors.table.data_ptr() != field.table.data_ptr()
    # The sizes of the source field replace those of the config.
    other = surface_of_field(field, dataclasses.replace(SMALL, field=FieldConfig()))
    restored = Dmtet.from_state(other.state_tensors(), other.config)
    assert torch.equal(restored.surface_mesh().points, mesh.points)
    assert torch.equal(restored.colors.table, field.table)


def test_thin_and_dense_volumes_are_both_inside():
    """A wall, also where its core is less dense, and a volume of low density are inside."""
    resolution = 20
    vertices = tet_grid(resolution).vertices
    box = (vertices[:, 2].abs() < 0.3) & (vertices[:, :2].abs() < 0.75).all(1)
    wall, thin = box & (vertices[:, 0] > 0.05), box & (vertices[:, 0] < -0.05)
    # A ray through 0.6 of the thin volume keeps a tenth of its light.
    density = 0.01 + 3000.0 * wall.float() + 4.0 * thin.float()
    # The core of the wall is hidden in all views, so its density is arbitrary.
    density[wall & (vertices.abs() < 0.3).all(1)] = 30.0
    inside = distance_of(density, vertices, resolution) < 0
    assert torch.equal(inside, wall | thin)
    # With less than alpha 0.5, the thin volume is outside.
    faint = density - 3.7 * thin.float()
    assert not (distance_of(faint, vertices, resolution) < 0)[thin].any()


@pytest.mark.parametrize("strength, bias", [(5.0, -30.0), (5.0, 30.0), (0.0, 0.0), (0.0, -60.0)])
def test_empty_full_and_constant_fields_have_a_surface(strength, bias):
    field = blob(strength, bias)
    if strength == 0:
        with torch.no_grad():
            field.density_out.weight.zero_()
    mesh = surface_of_field(field, SMALL).surface_mesh()
    assert is_closed(mesh.faces) and mesh_volume(mesh.points, mesh.faces) > 0.01


def test_zero_and_infinite_densities_give_finite_distances():
    grid = tet_grid(6)
    density = torch.full((len(grid.vertices),), torch.inf).where(grid.vertices[:, 0] > 0, 0.0)
    distance = distance_of(density, grid.vertices, 6)
    assert torch.isfinite(distance).all() and (distance < 0).any() and (distance > 0).any()


def round_splats(points, colors, size=0.03, opacity=0.95):
    """Return isotropic splats at `points` [N, 3] with `colors` [N, 3]."""
    n = len(points)
    quats = torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(n, 4)
    return Splats(
        points,
        quats,
        torch.full((n, 3), size),
        torch.full((n,), opacity),
        ((colors - 0.5) / SH_C0)[:, None],
    )


def sphere(count=4000, radius=0.6):
    """Return splats on a sphere: red for x > 0 and blue for x < 0."""
    points = radius * torch.nn.functional.normalize(
        torch.randn(count, 3, generator=generator(0, "sphere")), dim=1
    )
    colors = torch.where(
        points[:, :1] > 0, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.2, 0.9])
    )
    return round_splats(points, colors)


def test_surface_of_splats_has_their_silhouette_and_colors():
    surface = surface_of_splats(sphere(), SMALL)
    mesh = surface.surface_mesh()
    assert is_closed(mesh.faces)
    points, spacing, cameras = mesh.points.detach(), 2 / SMALL.resolution, ring(3, 64)
    ours, theirs = (
        out.alpha[..., 0] > 0.5
        for out in (surface.render(cameras, torch.ones(3)), rasterize(sphere(), cameras))
    )
    assert float((ours & theirs).sum() / (ours | theirs).sum()) > 0.95
    radii = points.norm(dim=1)
    assert float(radii.std()) < 0.2 * spacing and 0.6 < float(radii.mean()) < 0.6 + spacing
    # The colors must also hold near the surface, because it will move.
    for shift in (-0.5, 0.0, 0.5):
        colors = surface.colors.albedo(points * (1 + shift * spacing)).detach()
        red = colors[points[:, 0] > 2 * spacing].mean(0)
        blue = colors[points[:, 0] < -2 * spacing].mean(0)
        assert torch.allclose(red, torch.tensor([0.9, 0.1, 0.1]), atol=0.06)
        assert torch.allclose(blue, torch.tensor([0.1, 0.2, 0.9]), atol=0.06)


def test_structure_of_two_voxels_survives():
    """A thin rod under a plate, like the leg of a table."""
    gen = generator(0, "table")
    rod = torch.rand(1500, 3, generator=gen) * torch.tensor([0.06, 0.06, 0.8]) - torch.tensor(
        [0.03, 0.03, 0.6]
    )
    plate = torch.rand(4000, 3, generator=gen) * torch.tensor([1.0, 1.0, 0.06]) - torch.tensor(
        [0.5, 0.5, -0.2]
    )
    surface = surface_of_splats(
        round_splats(torch.cat([rod, plate]), torch.full((5500, 3), 0.5), 0.02),
        dataclasses.replace(SMALL, resolution=40),
    )
    below = surface.surface_mesh().points.detach()
    below = below[below[:, 2] < -0.5]
    assert len(below) > 10 and float(below[:, :2].norm(dim=1).max()) < 0.12


def test_surface_of_splats_is_deterministic():
    first, second = (surface_of_splats(sphere(), SMALL) for _ in range(2))
    assert torch.equal(first.distance, second.distance)
    assert torch.equal(first.colors.table, second.colors.table)


@pytest.mark.parametrize(
    "splats",
    [
        round_splats(torch.zeros(1, 3), torch.ones(1, 3), 0.001),
        dataclasses.replace(sphere(), opacities=torch.zeros(4000)),
    ],
)
def test_splats_with_nothing_solid_become_a_ball(splats):
    mesh = surface_of_splats(splats, SMALL).surface_mesh()
    assert is_closed(mesh.faces)
    assert float(mesh.points.detach().norm(dim=1).mean()) == pytest.approx(0.5, abs=0.02)
