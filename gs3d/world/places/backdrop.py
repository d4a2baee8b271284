"""What surrounds the objects of a place: floor, walls and ceiling, or ground and sky.

All of it is given in closed form for any ray from inside, with its depth.
"""

from dataclasses import dataclass

import numpy as np

from gs3d.core.views.inside import EYE_HEIGHT
from gs3d.world.colors import FIXED, NAMED, near
from gs3d.world.places.meaning import Setting

HAZE = 10.0
"""Distance at which the ground has taken on 1 − 1/e of the color of the horizon."""
GROUNDS = {
    "meadow": (0.36, 0.60, 0.24),
    "desert": (0.86, 0.73, 0.47),
    "snowfield": (0.93, 0.95, 0.98),
}
FLOORS = ("wood", "cream", "slate", "waffle")
DAY = ((0.80, 0.89, 0.97), (0.28, 0.53, 0.90))
DUSK = ((0.98, 0.58, 0.32), (0.17, 0.18, 0.42))
"""Colors of the sky at the horizon and above."""
EVENING_LIGHT = (0.80, 0.62, 0.52)
"""Factors for all colors but that of the sky in the evening."""
WALL_SHADES = (1.0, 0.82, 0.90, 0.76)
"""Of the walls in front, at the left, at the back and at the right, so that corners are seen."""
SHADOW, SHADOW_SIZE = 0.45, 0.75
"""How dark it is under an object, and how far it reaches, in radii of the object."""

Rgb = tuple[float, float, float]


@dataclass(frozen=True)
class Backdrop:
    """A room around the eye, or a landscape to the horizon."""

    setting: Setting
    floor: Rgb
    walls: Rgb
    ceiling: Rgb
    half: tuple[float, float]
    """Half the extent of a room along x and y."""
    height: float
    """Height of its ceiling above the eye."""
    evening: bool

    @property
    def light(self) -> np.ndarray:
        """[3] factors for the colors of everything but the sky."""
        return np.array(EVENING_LIGHT if self.evening else (1, 1, 1), np.float32)

    def inside(self, x: float, y: float, radius: float) -> tuple[float, float]:
        """The point next to (x, y) at which a sphere is inside the walls, or touches both."""
        (hx, hy) = (max(half - radius, 0.0) for half in self.half)
        return min(max(x, -hx), hx), min(max(y, -hy), hy)


def random_backdrop(
    rng: np.random.Generator, setting: Setting, color: str, evening: bool
) -> Backdrop:
    """Draw surroundings; `color` is that of the walls, "" for any."""
    floor = GROUNDS[setting] if setting in GROUNDS else FIXED[str(rng.choice(FLOORS))]
    shade = np.clip(np.asarray(floor) + rng.uniform(-0.04, 0.04, 3), 0, 1)
    walls = near(color or str(rng.choice(list(NAMED))), rng)
    half = (float(rng.uniform(1.6, 2.1)), float(rng.uniform(1.6, 2.1)))
    red, green, blue = (float(v) for v in shade)
    height = float(rng.uniform(0.8, 1.1))
    return Backdrop(setting, (red, green, blue), walls, FIXED["snow"], half, height, evening)


def draw(
    backdrop: Backdrop, shadows: np.ndarray, origin: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Color, distance and normal of what rays hit.

    Args:
        shadows: [N, 3] x, y and radius of the objects, which darken the ground under them.
        origin: [3], inside the room or above the ground.
        rays: [..., 3] unit directions.

    Returns:
        rgb [..., 3]; distance [...], inf for the sky; normal [..., 3], 0 for the sky.
    """
    if backdrop.setting == "room":
        return _draw_room(backdrop, shadows, origin, rays)
    down = -rays[..., 2]
    distance = np.where(down > 1e-4, (origin[2] + EYE_HEIGHT) / np.maximum(down, 1e-4), np.inf)
    hit = np.isfinite(distance)
    horizon, zenith = (np.array(c, np.float32) for c in (DUSK if backdrop.evening else DAY))
    up = np.clip(rays[..., 2:], 0, 1) ** 0.6
    sky = horizon + up * (zenith - horizon)
    flat = np.where(hit, distance, 0)
    ground = _floor(backdrop, shadows, origin[:2] + flat[..., None] * rays[..., :2])
    haze = 1 - np.exp(-flat / HAZE)[..., None]
    rgb = np.where(hit[..., None], ground + haze * (horizon - ground), sky)
    normal = np.zeros_like(rays)
    normal[..., 2] = hit
    return rgb, distance, normal


def _draw_room(
    backdrop: Backdrop, shadows: np.ndarray, origin: np.ndarray, rays: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`draw` inside a box."""
    high = np.array([*backdrop.half, backdrop.height], np.float32)
    low = np.array([-backdrop.half[0], -backdrop.half[1], -EYE_HEIGHT], np.float32)
    safe = np.where(np.abs(rays) < 1e-9, np.float32(1e-9), rays)
    to_side = np.where(safe > 0, high - origin, low - origin) / safe
    axis = to_side.argmin(-1)
    distance = to_side.min(-1)
    positive = np.take_along_axis(rays, axis[..., None], -1)[..., 0] > 0
    normal = np.zeros_like(rays)
    np.put_along_axis(normal, axis[..., None], np.where(positive, -1.0, 1.0)[..., None], -1)
    points = origin[:2] + distance[..., None] * rays[..., :2]
    # 0 and 2 are the walls at +x and −x, 1 and 3 those at +y and −y.
    shade = np.array(WALL_SHADES, np.float32)[np.clip(axis, 0, 1) + np.where(positive, 0, 2)]
    rgb = shade[..., None] * (np.array(backdrop.walls, np.float32) * backdrop.light)
    level = axis == 2
    rgb[level & positive] = np.array(backdrop.ceiling, np.float32) * backdrop.light
    rgb[level & ~positive] = _floor(backdrop, shadows, points[level & ~positive])
    return rgb, distance, normal


def _floor(backdrop: Backdrop, shadows: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Colors [..., 3] of the floor or ground at `points` [..., 2]."""
    bright = np.ones(points.shape[:-1], np.float32)
    for x, y, radius in shadows:
        squared = (points[..., 0] - x) ** 2 + (points[..., 1] - y) ** 2
        bright *= 1 - SHADOW * np.exp(-squared / (SHADOW_SIZE * radius) ** 2)
    return bright[..., None] * (np.array(backdrop.floor, np.float32) * backdrop.light)
