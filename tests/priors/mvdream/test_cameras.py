"""The numbers that MVDream is told about a camera."""

import math

import pytest
import torch

from gs3d.core.cameras import GROUP, CameraConfig, orbit, sample_cameras
from gs3d.core.rng import generator
from gs3d.core.views.words import view_words
from gs3d.priors.mvdream.cameras import NUMBERS, numbers_of
from gs3d.priors.mvdream.text import split, with_cameras

SIN, COS = 0.258819, 0.965926
"""Of 15°."""
RELEASED = [
    [[0, -SIN, COS, COS], [1, 0, 0, 0], [0, COS, SIN, SIN], [0, 0, 0, 1]],
    [[-1, 0, 0, 0], [0, -SIN, COS, COS], [0, COS, SIN, SIN], [0, 0, 0, 1]],
    [[0, SIN, -COS, -COS], [-1, 0, 0, 0], [0, COS, SIN, SIN], [0, 0, 0, 1]],
    [[1, 0, 0, 0], [0, SIN, -COS, -COS], [0, COS, SIN, SIN], [0, 0, 0, 1]],
]
"""Results of `get_camera(4, elevation=15, azimuth_start=90)` of the released code.

Its script for sampling calls it so. The first of the views shows the front.
"""


def cameras_at(azimuth_deg, elevation_deg=15.0, distance=3.0, fovy_rad=0.6):
    azimuth = torch.tensor([math.radians(a) for a in azimuth_deg])
    others = [math.radians(elevation_deg), distance, fovy_rad]
    return orbit(azimuth, *(torch.full_like(azimuth, x) for x in others), 8, 8)


def test_numbers_are_those_of_the_released_code():
    cameras = cameras_at([0, 90, 180, 270])
    assert view_words(cameras) == ["front", "side", "back", "side"]
    found = numbers_of(cameras)
    assert found.shape == (4, NUMBERS)
    torch.testing.assert_close(found.reshape(4, 4, 4), torch.tensor(RELEASED), rtol=0, atol=2e-6)


def test_front_of_object_is_the_first_released_view():
    """The camera that gs3d calls the front one has the numbers of their first view."""
    group = sample_cameras(CameraConfig(overhead_fraction=0.0), 4, 0.5, generator(0, "c"), GROUP)
    found = numbers_of(group).reshape(4, 4, 4)
    nearest = torch.cdist(found.flatten(1), torch.tensor(RELEASED).flatten(1)).argmin(dim=1)
    assert nearest.tolist() == [0, 1, 2, 3]


def test_camera_above_is_above():
    assert numbers_of(cameras_at([30], 60.0)).reshape(4, 4)[2, 3] == pytest.approx(math.sqrt(0.75))
    assert numbers_of(cameras_at([30], -10.0)).reshape(4, 4)[2, 3] < 0


def test_distance_field_of_view_and_shift_do_not_count():
    expected = numbers_of(cameras_at([70]))
    torch.testing.assert_close(numbers_of(cameras_at([70], distance=5.0, fovy_rad=1.0)), expected)
    shifted = cameras_at([70])
    shifted.world_to_camera[:, :2, 3] += 0.5
    torch.testing.assert_close(numbers_of(shifted), expected)


@pytest.mark.parametrize("width", [16, 7, 40])
def test_cameras_travel_with_text_of_any_width(width):
    states = torch.randn(2, 5, width, generator=torch.Generator().manual_seed(0))
    rows = -(-NUMBERS // width)
    blank = torch.cat([states, torch.zeros(2, rows, width)], dim=1)
    cameras = cameras_at([0, 90])
    text = with_cameras(blank, cameras)
    assert text.shape == blank.shape
    torch.testing.assert_close(split(text), (states, numbers_of(cameras)))
    # A second call replaces the cameras.
    others = cameras_at([10, 20])
    torch.testing.assert_close(split(with_cameras(text, others))[1], numbers_of(others))
