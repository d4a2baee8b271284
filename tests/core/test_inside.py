"""Cameras inside a scene, and panoramas."""

import math

import pytest
import torch

from gs3d.core.cameras import CameraConfig, rays
from gs3d.core.rng import generator
from gs3d.core.views.inside import around, faces, looking, panorama, sample_inside
from gs3d.core.views.words import INSIDE_VIEWS, exact_views, view_words


def test_camera_looks_in_its_direction_with_up_above():
    azimuth, elevation = torch.tensor([0.0, 1.0, 2.5]), torch.tensor([0.0, 0.3, -0.4])
    position = torch.tensor([[0.1, 0.2, 0.3], [0, 0, 0], [-1, 0, 0.5]])
    cameras = looking(azimuth, elevation, position, torch.full((3,), 1.0), 65, 65)
    assert torch.allclose(cameras.centers, position, atol=1e-6)
    directions = rays(cameras)[0]
    expected = torch.stack(
        [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], 1
    )
    assert torch.allclose(directions[:, 32, 32], expected, atol=1e-5)
    assert (directions[:, 0, 32, 2] > directions[:, 64, 32, 2]).all()
    # From the front, left is +Y.
    assert directions[0, 32, 0, 1] > 0 > directions[0, 32, 64, 1]
    assert torch.allclose(cameras[1:].azimuth_rad, azimuth[1:])
    assert torch.allclose(cameras.to("cpu").elevation_rad, elevation, atol=1e-6)


def test_views_are_named_by_where_cameras_look():
    at = around(4, 8, elevation_deg=-10)
    assert exact_views(at) == [
        "front 15 down",
        "90 degrees left 15 down",
        "back 15 down",
        "90 degrees right 15 down",
    ]
    assert view_words(at) == ["front", "side", "back", "side"]
    assert len(set(INSIDE_VIEWS)) == len(INSIDE_VIEWS) == 96
    config = CameraConfig(inside=True, elevation_deg=(-20, 30))
    many = sample_inside(config, 400, 0.0, generator(0, "x"))
    assert set(exact_views(many)) <= set(INSIDE_VIEWS)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_sampled_cameras_are_in_their_ranges_and_all_around(batch):
    config = CameraConfig(inside=True, elevation_deg=(-20, 30), fovy_deg=(50, 75), eye_radius=0.2)
    cameras = sample_inside(config, batch, 0.0, generator(3, "x"))
    assert (cameras.centers.norm(dim=1) <= 0.2 + 1e-6).all()
    degrees = cameras.elevation_rad.rad2deg()
    assert (degrees >= -20.001).all() and (degrees <= 30.001).all()
    fovy = 2 * torch.atan(0.5 * cameras.height / cameras.intrinsics[:, 1, 1]).rad2deg()
    assert (fovy >= 49.99).all() and (fovy <= 75.01).all()
    turns = (cameras.azimuth_rad / (2 * math.pi)).remainder(1).sort().values
    gaps = (turns.roll(-1) - turns).remainder(1)
    assert batch == 1 or gaps.max() < 2 / batch


def test_panorama_shows_every_direction_once_and_without_seams():
    height = 32

    def color(directions):  # smooth, and different in all directions
        return 0.5 + 0.4 * directions

    images = color(rays(faces(height))[0])
    found = panorama(images, height)
    assert found.shape == (height, 2 * height, 3)
    elevation = (0.5 - (torch.arange(height) + 0.5) / height) * math.pi
    azimuth = (0.5 - (torch.arange(2 * height) + 0.5) / (2 * height)) * 2 * math.pi
    expected = torch.stack(
        [
            elevation.cos()[:, None] * azimuth.cos(),
            elevation.cos()[:, None] * azimuth.sin(),
            elevation.sin()[:, None].expand(-1, 2 * height),
        ],
        dim=-1,
    )
    assert (found - color(expected)).abs().max() < 0.01
