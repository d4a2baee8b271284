"""How a caption says where a picture was taken from: four rough words, or the direction in steps of 15° and the height.

A prior that was trained on photographs knows the four words. One that knows no more paints every camera of a quarter the same
picture, and what it asks of neighboring cameras has no common object; the built-in prior is therefore told the angle.
"""

import math

from gs3d.core.cameras import Cameras

VIEW_WORDS = ("front", "side", "back", "overhead")
STEP_DEG = 15
DIRECTIONS = 360 // STEP_DEG
OVERHEAD_DEG = 60.0
HEIGHTS = {"level": 7.5, "15 up": 22.5, "30 up": 37.5, "45 up": OVERHEAD_DEG, "overhead": math.inf}
"""Words for the height → elevation in degrees that they end at."""


def _direction(steps: int) -> str:
    """Azimuth of −11 … 12 steps in words; left is the object's own, towards +Y."""
    if steps % (DIRECTIONS // 2) == 0:
        return "back" if steps else "front"
    return f"{abs(steps) * STEP_DEG} degrees {'left' if steps > 0 else 'right'}"


EXACT_VIEWS = tuple(
    f"{_direction(steps)} {height}"
    for height in HEIGHTS
    for steps in range(1 - DIRECTIONS // 2, DIRECTIONS // 2 + 1)
)
"""E.g. "45 degrees left 15 up", "front level": 24 directions at 5 heights. None is a rough word, which stands for many of them."""


def view_words(cameras: Cameras) -> list[str]:
    """The rough word of each camera, B of `VIEW_WORDS`.

    Overhead from 60° up; else front within 45° of +X, back within 45° of −X, side between.
    """
    words = []
    for azimuth, elevation in _degrees(cameras):
        facing = math.cos(math.radians(azimuth))
        if elevation >= OVERHEAD_DEG - 1e-4:
            words.append("overhead")
        elif abs(facing) >= math.sqrt(0.5) - 1e-6:
            words.append("front" if facing > 0 else "back")
        else:
            words.append("side")
    return words


def exact_views(cameras: Cameras) -> list[str]:
    """The nearest direction and the height of each camera, B of `EXACT_VIEWS`."""
    words = []
    for azimuth, elevation in _degrees(cameras):
        steps = (round(azimuth / STEP_DEG) + DIRECTIONS // 2 - 1) % DIRECTIONS - DIRECTIONS // 2 + 1
        height = next(word for word, end in HEIGHTS.items() if elevation < end - 1e-4)
        words.append(f"{_direction(steps)} {height}")
    return words


def _degrees(cameras: Cameras) -> list[tuple[float, float]]:
    return list(
        zip(
            cameras.azimuth_rad.rad2deg().tolist(),
            cameras.elevation_rad.rad2deg().tolist(),
            strict=True,
        )
    )
