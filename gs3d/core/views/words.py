# pyright: reportUnknownMemberType=false
# torch has no element type for `Tensor.tolist`.
"""View descriptions for prompts and captions: four rough words, or azimuth and elevation bins.

Priors trained on photographs understand the four words. With these alone, a prior generates the
same image for every camera of a quarter circle, so neighboring views do not agree on one object.
The built-in prior is therefore conditioned on the azimuth in steps of 15° and on the elevation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras

if TYPE_CHECKING:
    from jaxtyping import Float

VIEW_WORDS = ("front", "side", "back", "overhead")
STEP_DEG = 15
DIRECTIONS = 360 // STEP_DEG
OVERHEAD_DEG = 60.0
OVERHEAD_RAMP_DEG = (45.0, 75.0)
"""Elevations between which a view turns from the words of its azimuth to "overhead"."""
ELEVATION_BINS = {
    "level": 7.5,
    "15 up": 22.5,
    "30 up": 37.5,
    "45 up": OVERHEAD_DEG,
    "overhead": math.inf,
}
"""Elevation words → upper limit of the elevation in degrees."""
INSIDE_BINS = {"15 down": -7.5, "level": 7.5, "15 up": 22.5, "30 up": math.inf}
"""The same for cameras inside a scene, by the elevation in which they look."""


def _azimuth_words(steps: int) -> str:
    """Describe an azimuth of −11 … 12 steps; left is the object's left, towards +Y."""
    if steps % (DIRECTIONS // 2) == 0:
        return "back" if steps else "front"
    return f"{abs(steps) * STEP_DEG} degrees {'left' if steps > 0 else 'right'}"


def _all_views(bins: dict[str, float]) -> tuple[str, ...]:
    return tuple(
        f"{_azimuth_words(steps)} {elevation}"
        for elevation in bins
        for steps in range(1 - DIRECTIONS // 2, DIRECTIONS // 2 + 1)
    )


EXACT_VIEWS = _all_views(ELEVATION_BINS)
"""24 azimuths × 5 elevations, e.g. "45 degrees left 15 up" or "front level".

None of them equals a rough word of `VIEW_WORDS`, which covers many exact views."""
INSIDE_VIEWS = _all_views(INSIDE_BINS)
"""24 azimuths × 4 elevations in which cameras inside a scene look. Left is left of who looks to the
front."""


def view_words(cameras: Cameras) -> list[str]:
    """Rough view word of each camera: a list of B from `VIEW_WORDS`.

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


def view_weights(cameras: Cameras) -> Float[Tensor, "B 4"]:
    """Weight of each of `VIEW_WORDS` for each camera, on the CPU; the weights of a camera sum to 1.

    They change linearly from front to side to back, and to overhead in `OVERHEAD_RAMP_DEG`
    (Perp-Neg, Armandpour et al. 2023, Sec. 4.2, with a height).
    """
    quarters, overhead = _quarters_and_overhead(cameras)
    front, back = (1 - quarters).clamp_min(0), (quarters - 1).clamp_min(0)
    level = torch.stack([front, 1 - front - back, back], dim=1) * (1 - overhead[:, None])
    return torch.cat([level, overhead[:, None]], dim=1)


def wrong_view_weights(cameras: Cameras) -> Float[Tensor, "B 2"]:
    """How much Perp-Neg turns each camera away from "front" and from "side"; 0 is not at all.

    Armandpour et al. 2023, Sec. 4.3: a·exp(−b·r) + c, where r is the weight of the nearer of the
    two words between which the camera is. The constants are those of threestudio.
    """
    quarters, overhead = _quarters_and_overhead(cameras)
    r = 1 - quarters % 1  # 1 at the first of the two words, 0 at the second
    between_front_and_side = torch.stack([_decay(4, -2.426, r), _decay(4, -2.426, 1 - r)], dim=1)
    between_side_and_back = torch.stack([_decay(1, 0.967, r), _decay(1, -0.606, r)], dim=1)
    weights = torch.where((quarters < 1)[:, None], between_front_and_side, between_side_and_back)
    return weights.clamp_min(0) * (1 - overhead[:, None])


def _decay(a: float, c: float, r: Tensor) -> Tensor:
    return a * torch.exp(-0.5 * r) + c


def _quarters_and_overhead(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Angle from the front in quarter turns, [B] in [0, 2), and weight of "overhead", [B]."""
    degrees = torch.tensor(_degrees(cameras))
    low, high = OVERHEAD_RAMP_DEG
    overhead = ((degrees[:, 1] - low) / (high - low)).clamp(0, 1)
    return (degrees[:, 0].abs() / 90).clamp(max=2 - 1e-6), overhead


def exact_views(cameras: Cameras) -> list[str]:
    """Nearest azimuth and the elevation bin of each camera: a list of B from `EXACT_VIEWS`, or from
    `INSIDE_VIEWS` for cameras inside a scene."""
    words: list[str] = []
    bins = INSIDE_BINS if cameras.inside else ELEVATION_BINS
    for azimuth, elevation in _degrees(cameras):
        steps = (round(azimuth / STEP_DEG) + DIRECTIONS // 2 - 1) % DIRECTIONS - DIRECTIONS // 2 + 1
        word = next(word for word, end in bins.items() if elevation < end - 1e-4)
        words.append(f"{_azimuth_words(steps)} {word}")
    return words


def _degrees(cameras: Cameras) -> list[tuple[float, float]]:
    """(azimuth, elevation) of each camera in degrees."""
    azimuths = cast("list[float]", cameras.azimuth_rad.rad2deg().tolist())
    elevations = cast("list[float]", cameras.elevation_rad.rad2deg().tolist())
    return list(zip(azimuths, elevations, strict=True))
