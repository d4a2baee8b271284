import math

import pytest
import torch

from gs3d.core.cameras import orbit
from gs3d.core.views.words import (
    EXACT_VIEWS,
    VIEW_WORDS,
    exact_views,
    view_weights,
    view_words,
    wrong_view_weights,
)


def cameras(azimuths_deg, elevations_deg):
    azimuths, elevations = (
        torch.as_tensor(a).float() * math.pi / 180 for a in (azimuths_deg, elevations_deg)
    )
    n = len(azimuths)
    return orbit(azimuths, elevations, torch.full((n,), 3.0), torch.full((n,), 0.7), 8, 8)


def test_view_words():
    orbit_cameras = cameras([0, 44, 46, 90, 136, 180, -136, -46, 0], [0, 0, 0, 0, 0, 0, 0, 0, 61])
    expected = ["front", "front", "side", "side", "back", "back", "back", "side", "overhead"]
    assert view_words(orbit_cameras) == expected


def test_view_weights():
    weights = view_weights(cameras([0, 45, -90, 135, 180, 0, 90, 30], [0, 0, 0, 0, 0, 60, 80, -10]))
    expected = [
        [1, 0, 0, 0],
        [0.5, 0.5, 0, 0],
        [0, 1, 0, 0],
        [0, 0.5, 0.5, 0],
        [0, 0, 1, 0],
        [0.5, 0, 0, 0.5],
        [0, 0, 0, 1],
        [2 / 3, 1 / 3, 0, 0],
    ]
    torch.testing.assert_close(weights, torch.tensor(expected), atol=1e-5, rtol=0)


def test_weights_of_wrong_views():
    """A front view turns away from the side, a side view from the front, a back view from both."""
    angles = cameras([0, 90.001, 89.999, -180, 0], [0, 0, 0, 0, 90])
    front, side, side_too, back, above = wrong_view_weights(angles).tolist()
    assert front == pytest.approx([0.0001, 1.5739], abs=1e-3)
    assert side == pytest.approx([1.5735, 0.0005], abs=1e-3)
    assert side_too == pytest.approx([1.5740, 0.0001], abs=1e-3)
    assert back == pytest.approx([1.967, 0.394], abs=1e-3)
    assert above == [0, 0]


def test_exact_views():
    orbit_cameras = cameras([0, 7, 8, 90, 172, 173, 180, -173, -172, -90, -8], [5] * 11)
    directions = [
        *("front", "front", "15 degrees left", "90 degrees left", "165 degrees left", "back"),
        *("back", "back", "165 degrees right", "90 degrees right", "15 degrees right"),
    ]
    assert exact_views(orbit_cameras) == [f"{direction} level" for direction in directions]
    heights = cameras([0] * 8, [-40, 7, 8, 22, 23, 38, 59, 61])
    expected = [
        "front level",
        "front level",
        "front 15 up",
        "front 15 up",
        "front 30 up",
        "front 45 up",
        "front 45 up",
        "front overhead",
    ]
    assert exact_views(heights) == expected


def test_left_is_towards_plus_y():
    assert exact_views(cameras([90], [0])) == ["90 degrees left level"]
    assert cameras([90], [0]).centers[0, 1] > 0


def test_exact_views_are_120_and_all_occur():
    azimuth = torch.arange(-180, 180, 5).float()
    names = {
        view
        for elevation in (0, 20, 30, 45, 80)
        for view in exact_views(cameras(azimuth, torch.full_like(azimuth, elevation)))
    }
    assert names == set(EXACT_VIEWS) and len(EXACT_VIEWS) == 120
    # A caption must not be ambiguous between a coarse word and an exact view.
    assert set(VIEW_WORDS).isdisjoint(EXACT_VIEWS)
