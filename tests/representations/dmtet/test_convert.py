"""How a surface begins: as any field, or as splats, in their colors."""

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
from gs3d.representations.dmtet.convert import (
    MISSED,
    distance_of,
    surface_of_field,
    surface_of_splats,
)
from gs3d.representations.dmtet.dmtet import Dmtet, DmtetConfig
from gs3d.representations.dmtet.tets import tet_grid
from gs3d.representations.nerf.field import Field, FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from tests.representations.dmtet.test_tets import is_closed, mesh_volume

FIELD = FieldConfig(grid=HashGridConfig(levels=4, log2_size=12, coarsest=4, finest=32), hidden=16)
SMALL = DmtetConfig(resolution=20, field=FIELD)


def blob(strength=5.0, bias=0.0):
    field = Field(dataclasses.replace(FIELD, blob_strength=strength), generator(0, "field"))
    with torch.no_grad():
        field.density_out.bias += bias
    return field


def test_a_field_becomes_its_surface_in_its_colors():
    field = blob()
    made = surface_of_field(field, SMALL)
    surface_mesh = made.surface_mesh()
    assert is_closed(surface_mesh.faces)
    # A ray that passes the middle at b goes through 2 b e⁵ K₁(10 b) of density; where that is ln 2, half of what is behind is hidden.
    rim = brentq(lambda b: 2 * b * math.exp(5) * k1(10 * b) - math.log(2), 0.3, 0.9)
    radius = float(surface_mesh.points.detach().norm(dim=1).mean())
    assert math.sqrt(1 - MISSED) * rim - 0.05 < radius < rim  # a cell is 0.1
    points = surface_mesh.points.detach()
    assert torch.allclose(made.colors.albedo(points), field(points, 1.0).albedo)
    assert made.colors.table.data_ptr() != field.table.data_ptr()
    # Its state is that of the field's sizes, whatever the settings said.
    other = surface_of_field(field, dataclasses.replace(SMALL, field=FieldConfig()))
    again = Dmtet.from_state(other.state_tensors(), other.config)
    assert torch.equal(again.surface_mesh().points, surface_mesh.points) and torch.equal(
        again.colors.table, field.table
    )


def test_smoke_and_walls_are_both_of_the_object_and_what_is_deep_inside_a_wall_stays_inside():
    resolution = 20
    vertices = tet_grid(resolution).vertices
    box = (vertices[:, 2].abs() < 0.3) & (vertices[:, :2].abs() < 0.75).all(1)
    wall, smoke = box & (vertices[:, 0] > 0.05), box & (vertices[:, 0] < -0.05)
    density = (
        0.01 + 3000.0 * wall.float() + 4.0 * smoke.float()
    )  # through 0.6 of smoke comes a tenth
    density[wall & (vertices.abs() < 0.3).all(1)] = (
        30.0  # nobody sees in there, so it may be anything
    )
    inside = distance_of(density, vertices, resolution) < 0
    assert torch.equal(inside, wall | smoke)
    assert not (distance_of(density - 3.7 * smoke.float(), vertices, resolution) < 0)[
        smoke
    ].any()  # hides less than half


@pytest.mark.parametrize("strength, bias", [(5.0, -30.0), (5.0, 30.0), (0.0, 0.0), (0.0, -60.0)])
def test_empty_full_and_even_fields_have_a_surface_too(strength, bias):
    field = blob(strength, bias)
    if strength == 0:
        with torch.no_grad():
            field.density_out.weight.zero_()
    surface_mesh = surface_of_field(field, SMALL).surface_mesh()
    assert (
        is_closed(surface_mesh.faces)
        and mesh_volume(surface_mesh.points, surface_mesh.faces) > 0.01
    )


def test_a_field_with_nan_nowhere_leaves_no_nan():
    grid = tet_grid(6)
    distance = distance_of(
        torch.full((len(grid.vertices),), torch.inf).where(grid.vertices[:, 0] > 0, 0.0),
        grid.vertices,
        6,
    )
    assert torch.isfinite(distance).all() and (distance < 0).any() and (distance > 0).any()


def solid(points, colors, size=0.03, opacity=0.95):
    """Round splats at `points` [N, 3] of `colors` [N, 3]."""
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
    points = radius * torch.nn.functional.normalize(
        torch.randn(count, 3, generator=generator(0, "sphere")), dim=1
    )
    colors = torch.where(
        points[:, :1] > 0, torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.2, 0.9])
    )
    return solid(points, colors)


def test_splats_become_the_surface_that_they_show_in_their_colors():
    made = surface_of_splats(sphere(), SMALL)
    surface_mesh = made.surface_mesh()
    assert is_closed(surface_mesh.faces)
    points, cell, cameras = surface_mesh.points.detach(), 2 / SMALL.resolution, ring(3, 64)
    outlines = [
        out.alpha[..., 0] > 0.5
        for out in (rasterize(sphere(), cameras), made.render(cameras, torch.ones(3)))
    ]
    assert float((outlines[0] & outlines[1]).sum() / (outlines[0] | outlines[1]).sum()) > 0.95
    radii = points.norm(dim=1)
    assert float(radii.std()) < 0.2 * cell and 0.6 < float(radii.mean()) < 0.6 + cell
    for shift in (-0.5, 0.0, 0.5):  # the surface will move, and its colors are to be there already
        colors = made.colors.albedo(points * (1 + shift * cell)).detach()
        red, blue = (
            colors[points[:, 0] > 2 * cell].mean(0),
            colors[points[:, 0] < -2 * cell].mean(0),
        )
        assert torch.allclose(red, torch.tensor([0.9, 0.1, 0.1]), atol=0.06) and torch.allclose(
            blue, torch.tensor([0.1, 0.2, 0.9]), atol=0.06
        )


def test_what_is_two_cells_thick_stays():
    """A rod, as a table's leg is, under a plate."""
    gen = generator(0, "table")
    rod = torch.rand(1500, 3, generator=gen) * torch.tensor([0.06, 0.06, 0.8]) - torch.tensor(
        [0.03, 0.03, 0.6]
    )
    plate = torch.rand(4000, 3, generator=gen) * torch.tensor([1.0, 1.0, 0.06]) - torch.tensor(
        [0.5, 0.5, -0.2]
    )
    made = surface_of_splats(
        solid(torch.cat([rod, plate]), torch.full((5500, 3), 0.5), 0.02),
        dataclasses.replace(SMALL, resolution=40),
    )
    below = made.surface_mesh().points.detach()
    below = below[below[:, 2] < -0.5]
    assert len(below) > 10 and float(below[:, :2].norm(dim=1).max()) < 0.12


def test_the_same_splats_make_the_same_surface():
    first, again = (surface_of_splats(sphere(), SMALL) for _ in range(2))
    assert torch.equal(first.distance, again.distance) and torch.equal(
        first.colors.table, again.colors.table
    )


@pytest.mark.parametrize(
    "splats",
    [
        solid(torch.zeros(1, 3), torch.ones(1, 3), 0.001),
        dataclasses.replace(sphere(), opacities=torch.zeros(4000)),
    ],
)
def test_splats_that_show_nothing_solid_become_a_ball(splats):
    surface_mesh = surface_of_splats(splats, SMALL).surface_mesh()
    assert is_closed(surface_mesh.faces) and float(
        surface_mesh.points.detach().norm(dim=1).mean()
    ) == pytest.approx(0.5, abs=0.02)
