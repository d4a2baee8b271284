"""Where an asset lies, and the asset moved into the view of usual cameras."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.types import Mesh
from gs3d.ops.place import WORLD, framed, place_of
from gs3d.representations.asset import draw
from tests.cli.assets.files import ball


def picture(asset):
    return draw(asset, ring(2, 64), (1.0, 1.0, 1.0)).rgb


@pytest.mark.parametrize(("offset", "size"), [(0.0, 1e-4), (0.0, 1e3), (50.0, 1.0), (-7e3, 30.0)])
def test_an_object_looks_the_same_wherever_it_lies(offset, size):
    splats = ball(300)
    moved = replace(splats, means=splats.means * size + offset, scales=splats.scales * size)
    assert place_of(splats) is WORLD and framed(splats) is splats
    expected = framed(replace(splats, means=splats.means * 10, scales=splats.scales * 10))
    error = (picture(framed(moved)) - picture(expected)).abs()
    assert error.mean() < 0.002 and (picture(expected) < 0.9).any(-1).float().mean() > 0.3


def ball_at(center, radius, count=300):
    splats = ball(count)
    means = splats.means * radius / 0.8 + torch.tensor(center)
    return replace(splats, means=means, scales=splats.scales * radius / 0.8)


@pytest.mark.parametrize(
    ("center", "radius"),
    [((0.9, 0.0, 0.0), 0.05), ((0.0, 0.6, 0.0), 0.02), ((0.0, 0.0, 0.0), 0.2), ((0.5, 0, 0), 0.5)],
)
def test_an_object_within_the_unit_ball_is_framed_by_its_own_center_and_size(center, radius):
    place = place_of(ball_at(center, radius))
    assert np.allclose(place.center, center, atol=0.05 * radius)
    assert radius < place.radius < 1.2 * radius


@pytest.mark.parametrize(
    ("center", "radius"), [((0.0, 0.0, 0.0), 0.5), ((0.0, 0.1, -0.1), 1.0), ((0, 0, 0.1), 0.5)]
)
def test_objects_as_gs3d_makes_them_keep_their_cameras(center, radius):
    assert place_of(ball_at(center, radius)) is WORLD


@pytest.mark.parametrize(("count", "strays"), [(20, 1), (300, 1), (300, 6), (3000, 60)])
@pytest.mark.parametrize("center", [(0.0, 0.0, 0.0), (40.0, 0.0, 0.0)])
def test_a_few_strays_do_not_count(count, strays, center):
    splats = ball_at(center, 0.8, count)
    expected = place_of(splats[strays:])
    splats.means[:strays] = 1000 + torch.arange(3.0 * strays).reshape(strays, 3)
    place = place_of(splats)
    assert np.allclose(place.center, expected.center, atol=1e-6)
    assert place.radius == pytest.approx(expected.radius)


def test_more_than_a_few_far_splats_and_vertices_of_meshes_count():
    splats = ball_at((0.0, 0.0, 0.0), 0.8)
    splats.means[:30] += 1000
    assert place_of(splats).radius > 500
    assert place_of(splats[28:33]).radius > 100
    vertices = np.zeros((300, 3), np.float32)
    vertices[:, :2] = np.random.default_rng(0).random((300, 2))
    vertices[0] = [0, 0, 100]
    flat = np.zeros_like(vertices)
    assert place_of(Mesh(vertices, np.array([[0, 1, 2]], np.int32), flat, flat)).radius > 40


def test_meshes_are_framed_too():
    vertices = np.eye(4, 3, dtype=np.float32) * 500 + 9000
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    flat = np.full((4, 3), 0.5, np.float32)
    mesh = framed(Mesh(vertices, faces, flat, flat))
    assert np.abs(mesh.vertices).max() <= 1.001
    assert (picture(mesh) < 0.9).any(-1).float().mean() > 0.05


def test_positions_in_double_precision_are_framed_exactly():
    splats = ball(300)
    far = replace(splats, means=splats.means.double() * 0.001 + 4649776.25)
    far = replace(far, scales=splats.scales * 0.001)
    seen = framed(far)
    assert seen.means.dtype == torch.float32
    assert torch.allclose(seen.means.norm(dim=1).max(), torch.tensor(0.95), atol=0.06)
