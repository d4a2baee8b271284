"""Things that move people."""

import numpy as np

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import SPOTS, STRIPES, Part, ball, box, cone, gable, turn


def car(r: Rng) -> list[Part]:
    length, width, low, up = r.uniform(0.8, 0.95), r.uniform(0.36, 0.44), r.uniform(0.14, 0.19), r.uniform(0.13, 0.18)
    wheel = r.uniform(0.17, 0.21)
    back, cabin = -r.uniform(0.1, 0.2), r.uniform(0.36, 0.46)
    top = 2 * low + up
    parts = [
        box((0, 0, low), (length, width, low), "main", rounding=0.05),
        box((back, 0, top), (cabin, width * 0.84, up), "main", rounding=0.05),
        box((back + cabin, 0, top), (0.025, width * 0.72, up * 0.72), "sky"),
        box((back - cabin, 0, top), (0.02, width * 0.6, up * 0.6), "sky"),
        box((back, 0, top), (cabin * 0.78, width * 0.87, up * 0.62), "sky"),
    ]
    for side in (-1, 1):
        for x in (-1, 1):
            parts.append(cone((x * length * 0.6, side * width, 0), wheel, wheel, 0.07, "dark", rotation=turn("x", 90), name="wheels"))
        parts.append(ball((length, side * width * 0.62, low * 1.2), (0.04, 0.09, 0.08), "lemon"))
    return parts


def rocket(r: Rng) -> list[Part]:
    body, h, nose = r.uniform(0.22, 0.28), r.uniform(0.5, 0.62), r.uniform(0.2, 0.28)
    fin = r.uniform(0.2, 0.27)
    parts = [
        cone((0, 0, 0), body * 0.9, body, h, "main", patterned=True),
        cone((0, 0, h + nose), body, 0.02, nose, "steel", name="nose"),
        cone((0, 0, -h - 0.07), body * 0.75, body * 0.5, 0.08, "dark"),
        ball((body * 0.93, 0, h * 0.45), (0.06, 0.12, 0.12), "sky"),
    ]
    for k in range(4):
        c, s = np.cos(k * np.pi / 2 + np.pi / 4), np.sin(k * np.pi / 2 + np.pi / 4)
        at = (float(c * (body + fin * 0.45)), float(s * (body + fin * 0.45)), -h * 0.8)
        parts.append(box(at, (fin * 0.6, 0.03, 0.2), "steel", rotation=turn("z", 45 + 90 * k), name="fins"))
    return parts


def boat(r: Rng) -> list[Part]:
    long, wide, deep = r.uniform(0.72, 0.85), r.uniform(0.28, 0.34), r.uniform(0.2, 0.26)
    mast, sail = r.uniform(0.5, 0.6), r.uniform(0.48, 0.58)
    at = (long * 0.1 + sail * 0.5, 0, deep + 0.1 + mast * 0.8)
    return [
        ball((0, 0, 0), (long, wide, deep), "main", patterned=True),
        box((-long * 0.42, 0, deep * 0.9), (long * 0.24, wide * 0.6, deep * 0.5), "cream", rounding=0.03, name="cabin"),
        cone((long * 0.1, 0, deep + mast), 0.035, 0.03, mast, "wood"),
        # A gable lies along x; turned a quarter it is a flat triangle that is seen from the side.
        gable(at, (0.02, sail * 0.5, mast * 0.75), "snow", rotation=turn("z", 90), name="sail"),
    ]


def plane(r: Rng) -> list[Part]:
    long, body, span, chord = r.uniform(0.78, 0.9), r.uniform(0.15, 0.19), r.uniform(0.75, 0.9), r.uniform(0.15, 0.2)
    fin = r.uniform(0.17, 0.22)
    return [
        ball((0, 0, 0), (long, body, body), "main", patterned=True),
        box((0.1, 0, -0.02), (chord, span, 0.035), "main", rounding=0.02, name="wings"),
        box((-long * 0.84, 0, 0.03), (0.09, span * 0.38, 0.03), "main", rounding=0.02, name="wings"),
        box((-long * 0.86, 0, fin), (0.1, 0.03, fin), "main", rounding=0.02, name="tail"),
        ball((long * 0.45, 0, body * 0.72), (0.17, 0.1, 0.09), "sky"),
        box((long + 0.02, 0, 0), (0.02, 0.04, 0.24), "dark"),
        ball((long, 0, 0), 0.06, "dark"),
    ]


KINDS = (
    Kind("car", car, ("wheels",), has_front=True, synonyms=("automobile",)),
    Kind("rocket", rocket, ("fins", "nose"), (STRIPES,), has_front=True, synonyms=("spaceship",)),
    Kind("boat", boat, ("sail", "cabin"), (STRIPES,), has_front=True, synonyms=("ship",)),
    Kind("plane", plane, ("wings", "tail"), (SPOTS,), has_front=True, synonyms=("airplane",)),
)
