# pyright: reportUnknownMemberType=false
# torch has no element type for `Tensor.tolist`.
"""View descriptions for prompts and captions: four coarse words, or azimuth and elevation bins.

Priors trained on photographs understand the four words. With these alone, a prior generates the
same image for every camera of a quarter circle, so neighboring views do not agree on one object.
The built-in prior is therefore conditioned on the azimuth in steps of 15° and on the elevation.
"""

import math
from typing import cast

from gs3d.core.cameras import Cameras

VIEW_WORDS = ("front", "side", "back", "overhead")
STEP_DEG = 15
DIRECTIONS = 360 // STEP_DEG
OVERHEAD_DEG = 60.0
ELEVATION_BINS = {
    "level": 7.5,
    "15 up": 22.5,
    "30 up": 37.5,
    "45 up": OVERHEAD_DEG,
    "overhead": math.inf,
}
"""Elevation words → upper limit of the elevation in degrees."""


def _azimuth_words(steps: int) -> str:
    """Describe an azimuth of −11 … 12 steps; left is the object's left, towards +Y."""
    if steps % (DIRECTIONS // 2) == 0:
        return "back" if steps else "front"
    return f"{abs(steps) * STEP_DEG} degrees {'left' if steps > 0 else 'right'}"


EXACT_VIEWS = tuple(
    f"{_azimuth_words(steps)} {elevation}"
    for elevation in ELEVATION_BINS
    for steps in range(1 - DIRECTIONS // 2, DIRECTIONS // 2 + 1)
)
"""24 azimuths × 5 elevations, e.g. "45 degrees left 15 up" or "front level".

None of them equals a coarse word of `VIEW_WORDS`, which covers many exact views."""


def view_words(cameras: Cameras) -> list[str]:
    """Coarse view word of each camera: a list of B from `VIEW_WORDS`.

    "overhead" from 60° elevation; else "front" within 45° of +X, "back" within 45° of −X, and
    "side" in between.
    """
    words: list[str] = []
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
    """Nearest azimuth and the elevation bin of each camera: a list of B from `EXACT_VIEWS`."""
    words: list[str] = []
    for azimuth, elevation in _degrees(cameras):
        steps = (round(azimuth / STEP_DEG) + DIRECTIONS // 2 - 1) % DIRECTIONS - DIRECTIONS // 2 + 1
        word = next(word for word, end in ELEVATION_BINS.items() if elevation < end - 1e-4)
        words.append(f"{_azimuth_words(steps)} {word}")
    return words


def _degrees(cameras: Cameras) -> list[tuple[float, float]]:
    """(azimuth, elevation) of each camera in degrees."""
    azimuths = cast("list[float]", cameras.azimuth_rad.rad2deg().tolist())
    elevations = cast("list[float]", cameras.elevation_rad.rad2deg().tolist())
    return list(zip(azimuths, elevations, strict=True))
