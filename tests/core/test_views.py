import math

import torch

from gs3d.core.cameras import orbit
from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS, exact_views, view_words


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
