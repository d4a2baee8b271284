"""Random places: what their captions say, and where everything stands."""

import math
from dataclasses import dataclass, replace

import numpy as np

from gs3d.core.rng import derive_seed
from gs3d.core.views.inside import EYE_HEIGHT
from gs3d.world.captions import Meaning, Thing
from gs3d.world.colors import NAMED
from gs3d.world.parts import BOX, CONE, ELLIPSOID, GABLE, TORUS
from gs3d.world.places.backdrop import GROUNDS, Backdrop, random_backdrop
from gs3d.world.places.meaning import MOST_OBJECTS, SETTINGS, Group, PlaceMeaning
from gs3d.world.places.sizes import INDOORS, OUTDOORS, radius_of
from gs3d.world.sample import realize as realize_object

FEWEST_OBJECTS = 3
NAMED_COLOR_SHARE, EVENING_SHARE, SEVERAL_SHARE, SMALL_SHARE = 0.75, 0.3, 0.25, 0.1
"""Probabilities that a caption colors an object or a room, that it is evening, that objects come in
twos or threes, and that an object is small."""
JITTER_RAD, TURN_RAD = math.radians(12), math.radians(35)
"""Largest change of the direction in which an object stands, and of that in which it looks, which
is towards the eye."""
DISTANCES = {"room": (0.8, 1.2)} | dict.fromkeys(GROUNDS, (0.9, 1.9))
"""Distance from the eye to the nearest point of an object's bounding sphere; in rooms less, where
the walls are near."""


@dataclass(frozen=True)
class Placed:
    """An object in its place."""

    thing: Thing
    parts: np.ndarray
    """[P, parts.ROW] float32, in the coordinates of the place."""
    center: np.ndarray
    """[3] center of the bounding sphere."""
    radius: float


@dataclass(frozen=True)
class Place:
    """A room or landscape with objects, and its caption."""

    meaning: PlaceMeaning
    """What the caption says. Colors that it leaves open are open here too."""
    caption: str
    backdrop: Backdrop
    objects: tuple[Placed, ...]


def sample_place(rng: np.random.Generator) -> Place:
    """Draw a random place."""
    setting = SETTINGS[int(rng.integers(len(SETTINGS)))] if rng.random() < 0.5 else "room"
    left, groups = int(rng.integers(FEWEST_OBJECTS, MOST_OBJECTS + 1)), []
    while left:
        count = int(rng.integers(2, 4)) if rng.random() < SEVERAL_SHARE else 1
        groups.append(Group(_random_thing(rng, setting), min(count, left)))
        left -= groups[-1].count
    color = _random_color(rng) if setting == "room" else ""
    return realize(rng, PlaceMeaning(setting, tuple(groups), color, rng.random() < EVENING_SHARE))


def realize(rng: np.random.Generator, meaning: PlaceMeaning) -> Place:
    """Draw a random place that matches `meaning`."""
    backdrop = random_backdrop(rng, meaning.setting, meaning.color, meaning.evening)
    objects: list[Placed] = []
    for group in meaning.groups:
        # Equal objects have the same color, also where the caption does not name it.
        thing = replace(group.thing, color=group.thing.color or str(rng.choice(list(NAMED))))
        for _ in range(group.count):
            azimuth = 2 * math.pi * len(objects) / len(meaning.things)
            objects.append(_stand(rng, thing, azimuth, backdrop, objects))
    return Place(meaning, meaning.phrase(rng), backdrop, tuple(objects))


def reference_places(meaning: PlaceMeaning, count: int) -> list[Place]:
    """The first `count` random places of a fixed sequence that match `meaning`.

    The sequence depends on `meaning` only.
    """
    rng = np.random.default_rng(derive_seed(0, "places", repr(meaning)))
    return [realize(rng, meaning) for _ in range(count)]


def placed(
    parts: np.ndarray, center: tuple[float, float, float], scale: float, turn_rad: float
) -> np.ndarray:
    """The table of an object after a turn to the left about z, scaling and translation, in this
    order."""
    c, s = math.cos(turn_rad), math.sin(turn_rad)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)
    moved = parts.copy()
    moved[:, 1:4] = parts[:, 1:4] @ turn.T * scale + np.asarray(center, np.float32)
    moved[:, 4:13] = (turn @ parts[:, 4:13].reshape(-1, 3, 3)).reshape(-1, 9)
    moved[:, 13:17] *= scale
    moved[:, 24] *= scale
    return moved


def lowest(parts: np.ndarray) -> float:
    """The smallest z of an object, of a gable that of the box around it."""
    return float(min(row[3] - _below_center(row) for row in parts))


def _below_center(row: np.ndarray) -> float:
    """How far a part reaches below its center."""
    up, (a, b, c) = row[10:13], row[13:16]
    lying = math.sqrt(max(0.0, 1 - float(up[2]) ** 2))
    if row[0] == ELLIPSOID:
        return float(np.linalg.norm(up * row[13:16]))
    if row[0] in (BOX, GABLE):
        return float(np.abs(up) @ row[13:16])
    if row[0] == CONE:
        return max(up[2] * c + lying * a, -up[2] * c + lying * b)
    if row[0] == TORUS:
        return b + lying * a
    return abs(up[2]) * c + lying * (a + b)


def _stand(
    rng: np.random.Generator,
    thing: Thing,
    azimuth: float,
    backdrop: Backdrop,
    others: list[Placed],
) -> Placed:
    """Place an object on the ground in about the direction `azimuth`, beside `others`."""
    parts = realize_object(rng, Meaning(thing)).parts
    radius, near_far = radius_of(thing.kind), DISTANCES[backdrop.setting]
    while True:
        for _ in range(20):
            angle = azimuth + JITTER_RAD * rng.uniform(-1, 1)
            far = radius + rng.uniform(*near_far)
            x, y = far * math.cos(angle), far * math.sin(angle)
            if backdrop.setting == "room":
                # Objects that are larger than the room is deep stand against its wall.
                x, y = backdrop.inside(x, y, radius)
            away = math.hypot(x, y) > 1.6 * radius
            center = np.array([x, y, -EYE_HEIGHT - radius * lowest(parts)])
            if away and all(
                np.linalg.norm(center - other.center) > 0.9 * (radius + other.radius)
                for other in others
            ):
                turn = angle + math.pi + TURN_RAD * rng.uniform(-1, 1)
                rows = placed(parts, tuple(center), radius, turn)
                return Placed(thing, rows, center, radius)
        radius *= 0.9


def _random_thing(rng: np.random.Generator, setting: str) -> Thing:
    kinds = INDOORS if setting == "room" else OUTDOORS
    size = "small" if rng.random() < SMALL_SHARE else None
    return Thing(str(rng.choice(kinds)), _random_color(rng), size=size)


def _random_color(rng: np.random.Generator) -> str:
    return str(rng.choice(list(NAMED))) if rng.random() < NAMED_COLOR_SHARE else ""
