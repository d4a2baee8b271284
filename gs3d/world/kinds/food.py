"""Food."""

import numpy as np

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import (
    CHECKER,
    SPOTS,
    STRIPES,
    Part,
    ball,
    box,
    cone,
    pointing,
    torus,
    toward,
    turn,
)


def ice_cream(r: Rng) -> list[Part]:
    scoop, h = r.uniform(0.36, 0.42), r.uniform(0.55, 0.7)
    z = h + scoop * 0.45
    return [
        cone((0, 0, 0), 0.03, scoop * 0.85, h, "waffle", name="cone"),
        ball((0, 0, z), (scoop, scoop, scoop * 0.95), "main", patterned=True),
        torus((0, 0, h + 0.02), scoop * 0.86, 0.07, "main"),
        ball((0.05, 0, z + scoop * 1.02), 0.1, "cherry", name="cherry"),
    ]


def cake(r: Rng) -> list[Part]:
    wide, low = r.uniform(0.55, 0.65), r.uniform(0.17, 0.23)
    narrow, high, candle = wide * r.uniform(0.58, 0.7), r.uniform(0.14, 0.2), r.uniform(0.1, 0.14)
    top = low + 2 * high
    return [
        cone((0, 0, 0), wide, wide, low, "main", rounding=0.03, patterned=True),
        cone((0, 0, low + high), narrow, narrow, high, "main", rounding=0.03, patterned=True),
        torus((0, 0, low), narrow, 0.06, "cream", name="icing"),
        torus((0, 0, -low), wide, 0.06, "cream", name="icing"),
        cone((0, 0, top + candle), 0.045, 0.045, candle, "cream", name="candle"),
        ball((0, 0, top + 2 * candle + 0.06), (0.05, 0.05, 0.09), "flame"),
    ]


def apple(r: Rng) -> list[Part]:
    wide, ring, low = r.uniform(0.41, 0.46), r.uniform(0.2, 0.24), r.uniform(0.18, 0.22)
    stem, tilt, azimuth = r.uniform(0.17, 0.22), r.uniform(20, 35), r.uniform(40, 70)
    # The lobes leave a dimple at the top. Below, the cone continues them without a visible edge.
    shoulder, fall = ring + 0.89 * wide, 0.42 * wide
    narrow = shoulder - 0.92 * low
    x, y = toward(azimuth, 0.24)
    parts = [
        cone((0, 0, -fall - low), narrow, shoulder, low, "main"),
        ball((0, 0, -fall - 2 * low), (narrow, narrow, 0.1), "main"),
        cone((0, 0, wide * 0.85 + stem * 0.6), 0.055, 0.07, stem, "wood", name="stem"),
        ball(
            (x, y, wide * 0.85 + stem * 1.2),
            (0.28, 0.15, 0.06),
            "leaf",
            rotation=pointing(azimuth, -tilt),
            name="leaf",
        ),
    ]
    for k in range(8):
        parts.append(ball((*toward(45 * k, ring), 0), wide, "main"))
    return parts


def burger(r: Rng) -> list[Part]:
    wide, dome = r.uniform(0.56, 0.62), r.uniform(0.36, 0.42)
    patty, bottom = r.uniform(0.08, 0.1), r.uniform(0.1, 0.13)
    z = 2 * bottom + patty
    top = z + patty + 0.14
    parts = [
        cone((0, 0, bottom), wide * 0.93, wide, bottom, "main", rounding=0.07),
        cone((0, 0, z), wide * 1.06, wide * 1.06, patty, "wood", rounding=0.06, name="patty"),
        box(
            (0, 0, z + patty + 0.02),
            (wide * 0.88, wide * 0.88, 0.035),
            "flame",
            rotation=turn("z", r.uniform(10, 40)),
        ),
        torus((0, 0, top - 0.03), wide * 0.93, 0.075, "cherry", name="tomato"),
        ball((0, 0, top), (wide * 1.03, wide * 1.03, dome), "main"),
    ]
    for k in range(8):
        up, out = toward((26, 54)[k % 2])
        parts.append(
            ball(
                (*toward(45 * k, wide * 1.03 * out), top + dome * up),
                (0.055, 0.055, 0.045),
                "cream",
                name="seeds",
            )
        )
    return parts


def donut(r: Rng) -> list[Part]:
    ring, dough, lift = r.uniform(0.56, 0.62), r.uniform(0.21, 0.24), r.uniform(0.06, 0.08)
    icing = dough * 0.97
    parts = [
        torus((0, 0, 0), ring, dough, "waffle", name="dough"),
        torus((0, 0, lift), ring, icing, "main", patterned=True),
    ]
    for k in range(6):
        edge = toward(60 * k, ring + dough * 0.88)
        parts.append(
            ball(
                (*edge, 0.02),
                (0.08, 0.15, 0.1 + 0.03 * (k % 2)),
                "main",
                rotation=turn("z", 60 * k),
            )
        )
    for k in range(6):
        out = ring + (0.07, -0.05)[k % 2]
        at = (*toward(60 * k + 25, out), lift + icing - 0.04)
        paint = ("snow", "lemon", "sky")[k % 3]
        parts.append(
            box(
                at,
                (0.1, 0.045, 0.07),
                paint,
                rotation=turn("z", 100 * k),
                rounding=0.03,
                name="sprinkles",
            )
        )
    return parts


def pineapple(r: Rng) -> list[Part]:
    wide, high, leaf = r.uniform(0.38, 0.42), r.uniform(0.53, 0.58), r.uniform(0.26, 0.31)
    parts = [ball((0, 0, 0), (wide, wide, high), "main", patterned=True)]
    # Tilted rings all around form the diamond pattern.
    parts += [
        torus((0, 0, 0), 0.5 * (wide + high) - 0.05, 0.06, "main", rotation=pointing(72 * k, 48))
        for k in range(5)
    ]
    parts.append(cone((0, 0, high + leaf * 0.75), 0.13, 0.03, leaf, "leaf", name="leaves"))
    for count, lean, at in ((3, 22, 20), (4, 54, 55)):
        for k in range(count):
            way = pointing(360 / count * k + at, lean)
            x, y, z = (float(v) for v in np.asarray(way)[:, 2] * leaf * 0.9)
            parts.append(
                cone(
                    (x, y, high * 0.92 + z), 0.12, 0.015, leaf, "leaf", rotation=way, name="leaves"
                )
            )
    return parts


def cupcake(r: Rng) -> list[Part]:
    wide, low, swirl = r.uniform(0.44, 0.5), r.uniform(0.25, 0.3), r.uniform(0.17, 0.2)
    narrow = wide * r.uniform(0.68, 0.76)
    parts = [
        cone((0, 0, 0), narrow, wide, low, "cream"),
        torus((0, 0, low + swirl * 0.5), wide * 0.78, swirl * 1.1, "main"),
        torus((0, 0, low + swirl * 1.9), wide * 0.46, swirl, "main"),
        ball((0, 0, low + swirl * 3.2), (swirl * 0.95, swirl * 0.95, swirl), "main"),
        ball((0, 0, low + swirl * 4.4), 0.11, "cherry", name="cherry"),
    ]
    for k in range(9):
        parts.append(
            cone(
                (*toward(40 * k, narrow), 0),
                0.06,
                0.02 + wide - narrow,
                low,
                "waffle",
                name="wrapper",
            )
        )
    return parts


KINDS = (
    Kind("ice cream", ice_cream, ("cone", "cherry"), (SPOTS,), small=True),
    Kind("cake", cake, ("icing", "candle"), (SPOTS, STRIPES, CHECKER), small=True),
    Kind("apple", apple, ("stem", "leaf"), small=True),
    Kind("burger", burger, ("patty", "tomato", "seeds"), synonyms=("hamburger",), small=True),
    Kind(
        "donut", donut, ("dough", "sprinkles"), (SPOTS, STRIPES), synonyms=("doughnut",), small=True
    ),
    Kind("pineapple", pineapple, ("leaves",), (SPOTS, CHECKER), small=True),
    Kind("cupcake", cupcake, ("wrapper", "cherry"), synonyms=("muffin",), small=True),
)
