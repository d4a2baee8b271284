"""The kinds of object: each a function from a random generator to parts, front towards +X, up +Z, any size and place.

`world.sample` centres and scales them. "main" is painted in the colour that the caption names.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gs3d.world.parts import SPOTS, STRIPES, Part, ball, box, cone, gable, torus, tube, turn

Rng = np.random.Generator


@dataclass(frozen=True)
class Kind:
    """A kind of object and what a caption may say of it."""

    name: str
    build: Callable[[Rng], list[Part]]
    patterns: tuple[int, ...] = ()
    """Patterns that its patterned parts may carry."""
    has_front: bool = False
    """Whether front and back look different."""


def mushroom(r: Rng) -> list[Part]:
    h, cap, stem = r.uniform(0.4, 0.6), r.uniform(0.6, 0.8), r.uniform(0.17, 0.25)
    rise = cap * r.uniform(0.55, 0.8)
    return [
        cone((0, 0, 0), stem * 1.2, stem, h, "cream", rounding=0.02),
        ball((0, 0, h), (cap, cap, rise), "main", patterned=True),
        cone((0, 0, h - 0.42 * rise), cap * 0.86, cap * 0.95, 0.3 * rise, "cream"),
    ]


def tree(r: Rng) -> list[Part]:
    tiers = int(r.integers(2, 4))
    trunk, width = r.uniform(0.15, 0.3), r.uniform(0.5, 0.65)
    parts = [cone((0, 0, 0), 0.12, 0.1, trunk, "brown")]
    z = trunk * 0.8
    for i in range(tiers):
        w = width * (1 - 0.24 * i)
        half = 0.3 * (1 - 0.1 * i)
        parts.append(cone((0, 0, z + half), w, 0.16 * w if i < tiers - 1 else 0.02, half, "main"))
        z += 1.25 * half
    return parts


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
        parts += [cone((x * length * 0.6, side * width, 0), wheel, wheel, 0.07, "dark", rotation=turn("x", 90)) for x in (-1, 1)]
        parts.append(ball((length, side * width * 0.62, low * 1.2), (0.04, 0.09, 0.08), "lemon"))
    return parts


def chair(r: Rng) -> list[Part]:
    w, seat, back, leg = r.uniform(0.36, 0.46), r.uniform(0.4, 0.52), r.uniform(0.42, 0.58), r.uniform(0.045, 0.07)
    t = r.uniform(0.05, 0.075)
    parts = [
        box((0, 0, 0), (w, w, t), "main", rounding=0.02),
        box((-w + t, 0, back), (t, w, back), "main", rounding=0.02),
    ]
    parts += [box((x * (w - leg), y * (w - leg), -seat), (leg, leg, seat), "main") for x in (-1, 1) for y in (-1, 1)]
    return parts


def table_(r: Rng) -> list[Part]:
    high, leg, t = r.uniform(0.3, 0.42), r.uniform(0.05, 0.08), r.uniform(0.045, 0.07)
    w = r.uniform(0.5, 0.62)
    d = w * r.uniform(1.15, 1.5)
    top = box((0, 0, high), (w, d, t), "main", rounding=0.02, patterned=True)
    legs = [box((x * (w - 1.6 * leg), y * (d - 1.6 * leg), 0), (leg, leg, high), "main") for x in (-1, 1) for y in (-1, 1)]
    return [top, *legs]


def house(r: Rng) -> list[Part]:
    d, w, h, roof = r.uniform(0.45, 0.6), r.uniform(0.5, 0.62), r.uniform(0.32, 0.45), r.uniform(0.2, 0.3)
    door = r.uniform(0.11, 0.15)
    parts = [
        box((0, 0, 0), (d, w, h), "main"),
        gable((0, 0, h + roof), (d * 1.12, w * 1.18, roof), "slate"),
        box((d, 0, -h + 1.9 * door), (0.03, door, 1.9 * door), "brown"),
        box((-d * 0.4, w * 0.45, h + 1.5 * roof), (0.07, 0.07, roof * 0.9), "brick"),
    ]
    for y in (-1, 1):
        parts.append(box((d, y * w * 0.6, h * 0.3), (0.025, 0.11, 0.12), "sky"))
        parts.append(box((0, y * w, h * 0.15), (0.16, 0.025, 0.13), "sky"))
    return parts


def snowman(r: Rng) -> list[Part]:
    a, b, c = r.uniform(0.46, 0.54), r.uniform(0.35, 0.4), r.uniform(0.27, 0.31)
    z2, z3 = 0.8 * a + 0.55 * b, 0.8 * a + 1.25 * b + 0.65 * c
    parts = [
        ball((0, 0, 0), a, "main"),
        ball((0, 0, z2), b, "main"),
        ball((0, 0, z3), c, "main"),
        cone((c + 0.1, 0, z3 - 0.01), 0.065, 0.008, 0.15, "carrot", rotation=turn("y", 90)),
        cone((0, 0, z3 + 0.85 * c), c * 1.1, c * 1.1, 0.025, "dark"),
        cone((0, 0, z3 + 0.85 * c + 0.11), c * 0.66, c * 0.66, 0.11, "dark"),
    ]
    parts += [ball((c * 0.86, s * c * 0.4, z3 + 0.32 * c), 0.045, "dark") for s in (-1, 1)]
    parts += [ball((b * 0.97, 0, z2 + s * 0.12), 0.045, "dark") for s in (-1, 0, 1)]
    return parts


def rocket(r: Rng) -> list[Part]:
    body, h, nose = r.uniform(0.22, 0.28), r.uniform(0.5, 0.62), r.uniform(0.2, 0.28)
    fin = r.uniform(0.2, 0.27)
    parts = [
        cone((0, 0, 0), body * 0.9, body, h, "main", patterned=True),
        cone((0, 0, h + nose), body, 0.02, nose, "steel"),
        cone((0, 0, -h - 0.07), body * 0.75, body * 0.5, 0.08, "dark"),
        ball((body * 0.93, 0, h * 0.45), (0.06, 0.12, 0.12), "sky"),
    ]
    for k in range(4):
        c, s = np.cos(k * np.pi / 2 + np.pi / 4), np.sin(k * np.pi / 2 + np.pi / 4)
        at = (float(c * (body + fin * 0.45)), float(s * (body + fin * 0.45)), -h * 0.8)
        parts.append(box(at, (fin * 0.6, 0.03, 0.2), "steel", rotation=turn("z", 45 + 90 * k)))
    return parts


def mug(r: Rng) -> list[Part]:
    radius, h, wall = r.uniform(0.4, 0.48), r.uniform(0.42, 0.55), 0.045
    ring = r.uniform(0.2, 0.25)
    return [
        tube((0, 0, 0), radius, wall, h, "main", patterned=True),
        cone((0, 0, -h + 0.05), radius, radius, 0.05, "main"),
        cone((0, 0, h * 0.55), radius, radius, 0.03, "brown"),
        torus((0, radius + ring * 0.6, 0), ring, 0.06, "main", rotation=turn("y", 90)),
    ]


def ice_cream(r: Rng) -> list[Part]:
    scoop, h = r.uniform(0.36, 0.42), r.uniform(0.55, 0.7)
    z = h + scoop * 0.45
    return [
        cone((0, 0, 0), 0.03, scoop * 0.85, h, "waffle"),
        ball((0, 0, z), (scoop, scoop, scoop * 0.95), "main", patterned=True),
        torus((0, 0, h + 0.02), scoop * 0.86, 0.07, "main"),
        ball((0.05, 0, z + scoop * 1.02), 0.1, "cherry"),
    ]


def duck(r: Rng) -> list[Part]:
    long, wide, high, head = r.uniform(0.6, 0.68), r.uniform(0.4, 0.46), r.uniform(0.32, 0.38), r.uniform(0.25, 0.3)
    x, z = long * 0.55, high + head * 0.72
    parts = [
        ball((0, 0, 0), (long, wide, high), "main"),
        ball((x, 0, z), head, "main"),
        cone((-long * 0.9, 0, high * 0.55), 0.17, 0.02, 0.2, "main", rotation=turn("y", -40)),
        ball((x + head * 1.1, 0, z - 0.04), (0.2, 0.13, 0.055), "carrot"),
    ]
    for s in (-1, 1):
        parts.append(ball((x + head * 0.72, s * head * 0.55, z + head * 0.4), 0.055, "dark"))
        parts.append(ball((-long * 0.1, s * wide * 0.88, high * 0.2), (long * 0.45, 0.09, high * 0.5), "main"))
    return parts


def lamp(r: Rng) -> list[Part]:
    foot, pole, shade, h = r.uniform(0.28, 0.36), r.uniform(0.45, 0.58), r.uniform(0.38, 0.48), r.uniform(0.22, 0.3)
    return [
        cone((0, 0, -pole), foot, foot * 0.8, 0.05, "slate"),
        cone((0, 0, 0), 0.045, 0.045, pole, "steel"),
        cone((0, 0, pole + h * 0.6), shade, shade * r.uniform(0.45, 0.6), h, "main", patterned=True),
    ]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("mushroom", mushroom, (SPOTS,)),
        Kind("tree", tree),
        Kind("car", car, has_front=True),
        Kind("chair", chair, has_front=True),
        Kind("table", table_),
        Kind("house", house, has_front=True),
        Kind("snowman", snowman, has_front=True),
        Kind("rocket", rocket, (STRIPES,), has_front=True),
        Kind("mug", mug, (SPOTS, STRIPES)),
        Kind("ice cream", ice_cream, (SPOTS,)),
        Kind("duck", duck, has_front=True),
        Kind("lamp", lamp, (SPOTS, STRIPES)),
    )
}
