"""Pets and farm animals."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import (
    CHECKER,
    SPOTS,
    STRIPES,
    Part,
    ball,
    box,
    cone,
    gable,
    pointing,
    torus,
    turn,
)

_TAIL_ROTATION = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""Rotates a gable so that its apex points to +X, its base lies along z and its depth along y."""


def duck(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.6, 0.68), r.uniform(0.4, 0.46)
    high, head = r.uniform(0.32, 0.38), r.uniform(0.25, 0.3)
    x, z = long * 0.55, high + head * 0.72
    parts = [
        ball((0, 0, 0), (long, wide, high), "main", patterned=True),
        ball((x, 0, z), head, "main"),
        cone((-long * 0.9, 0, high * 0.55), 0.17, 0.02, 0.2, "main", rotation=turn("y", -40)),
        ball((x + head * 1.1, 0, z - 0.04), (0.2, 0.13, 0.055), "carrot", name="beak"),
    ]
    for s in (-1, 1):
        parts.append(ball((x + head * 0.72, s * head * 0.55, z + head * 0.4), 0.055, "dark"))
        parts.append(
            ball(
                (-long * 0.1, s * wide * 0.88, high * 0.2),
                (long * 0.45, 0.09, high * 0.5),
                "main",
                name="wings",
            )
        )
    return parts


def rabbit(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.42, 0.5), r.uniform(0.34, 0.4)
    high, head = r.uniform(0.36, 0.42), r.uniform(0.25, 0.29)
    ear, lean = r.uniform(0.3, 0.38), r.uniform(8, 16)
    x, z = long * 0.6, high + head * 0.55
    parts = [
        ball((0, 0, 0), (long, wide, high), "main", patterned=True),
        ball((x, 0, z), head, "main"),
        ball((-long * 1.0, 0, -0.05), 0.14, "snow", name="tail"),
        ball((x + head * 0.97, 0, z - 0.03), 0.05, "cherry"),
    ]
    for s in (-1, 1):
        ear_at = (x - 0.05, s * head * 0.5, z + head * 0.75 + ear * 0.75)
        parts.append(
            ball(ear_at, (0.07, 0.1, ear), "main", rotation=turn("x", -s * lean), name="ears")
        )
        parts.append(ball((x + head * 0.8, s * head * 0.48, z + head * 0.32), 0.055, "dark"))
        parts.append(
            ball(
                (long * 0.6, s * wide * 0.55, -high * 0.85), (0.22, 0.12, 0.1), "main", name="feet"
            )
        )
    return parts


def fish(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.58, 0.66), r.uniform(0.2, 0.25)
    high, tail = r.uniform(0.34, 0.42), r.uniform(0.26, 0.32)
    parts = [
        ball((0, 0, 0), (long, wide, high), "main", patterned=True),
        # A flat triangle: its apex touches the body, its base is the end of the tail.
        gable(
            (-long * 0.9 - tail * 0.5, 0, 0),
            (0.04, tail * 1.1, tail * 0.7),
            "main",
            rotation=_TAIL_ROTATION,
            name="tail",
        ),
        box((-long * 0.05, 0, high), (long * 0.4, 0.035, 0.14), "main", rounding=0.03, name="fins"),
        ball((long * 0.98, 0, -0.06), (0.06, 0.09, 0.04), "cherry"),
    ]
    for s in (-1, 1):
        parts.append(ball((long * 0.66, s * wide * 0.72, high * 0.2), 0.075, "snow"))
        parts.append(ball((long * 0.7, s * wide * 0.88, high * 0.2), 0.04, "dark"))
        parts.append(
            ball(
                (0.02, s * wide * 1.05, -high * 0.25),
                (0.16, 0.05, 0.09),
                "main",
                rotation=turn("y", 25),
                name="fins",
            )
        )
    return parts


def turtle(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.52, 0.6), r.uniform(0.44, 0.5)
    high, head = r.uniform(0.36, 0.44), r.uniform(0.19, 0.22)
    x, z = long + head * 0.75, head * 0.7
    parts = [
        ball((0, 0, 0.02), (long, wide, high), "main", patterned=True),
        ball((0, 0, -0.02), (long * 1.12, wide * 1.12, 0.1), "waffle", name="rim"),
        ball((0, 0, -0.1), (long * 0.95, wide * 0.95, 0.16), "main"),
        cone((long * 0.9, 0, z * 0.4), 0.13, 0.13, 0.2, "main", rotation=turn("y", 55)),
        ball((x, 0, z), (head * 1.15, head, head), "main"),
        cone((-long * 1.12, 0, -0.1), 0.1, 0.03, 0.14, "main", rotation=turn("y", -105)),
    ]
    for s in (-1, 1):
        parts.append(ball((x + head * 0.65, s * head * 0.65, z + head * 0.4), 0.055, "dark"))
        for side in (-1, 1):
            parts.append(
                ball(
                    (side * long * 0.72, s * wide * 0.82, -0.2),
                    (0.18, 0.15, 0.19),
                    "main",
                    name="legs",
                )
            )
    return parts


def pig(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.5, 0.58), r.uniform(0.37, 0.43)
    high, head = r.uniform(0.35, 0.41), r.uniform(0.28, 0.32)
    x, z, nose = long * 0.9, high * 0.35, head * 0.98
    parts = [
        ball((0, 0, 0), (long, wide, high), "main", patterned=True),
        ball((x, 0, z), head, "main"),
        cone(
            (x + nose, 0, z - 0.06),
            0.15,
            0.14,
            0.09,
            "blossom",
            rotation=turn("y", 90),
            rounding=0.02,
            name="snout",
        ),
        torus(
            (-long * 1.05, 0, high * 0.35),
            0.12,
            0.055,
            "main",
            rotation=pointing(50, 90),
            name="tail",
        ),
    ]
    for s in (-1, 1):
        parts.append(ball((x + nose + 0.085, s * 0.06, z - 0.06), (0.03, 0.035, 0.05), "dark"))
        parts.append(ball((x + head * 0.82, s * head * 0.48, z + head * 0.38), 0.05, "dark"))
        parts.append(
            cone(
                (x + 0.08, s * head * 0.78, z + head * 0.82),
                0.16,
                0.05,
                0.14,
                "main",
                rotation=pointing(s * 50, 50),
                name="ears",
            )
        )
        for side in (-1, 1):
            parts.append(
                cone((side * long * 0.55, s * wide * 0.52, -high * 0.95), 0.1, 0.12, 0.2, "main")
            )
    return parts


def cat(r: Rng) -> list[Part]:
    deep, wide = r.uniform(0.31, 0.36), r.uniform(0.31, 0.36)
    high, head = r.uniform(0.44, 0.52), r.uniform(0.29, 0.33)
    tail, x, z = r.uniform(0.36, 0.44), 0.16, high + head * 0.45
    tail_at = (-0.3 - tail * 0.37, wide * 0.6 + tail * 0.44, -high * 0.75 + tail * 0.8)
    parts = [
        ball((0, 0, 0), (deep, wide, high), "main", rotation=turn("y", 14), patterned=True),
        ball((x, 0, z), (head * 0.95, head * 1.1, head * 0.92), "main"),
        ball((x + head * 0.8, 0, z - head * 0.28), (0.12, 0.16, 0.1), "snow"),
        ball((x + head * 0.8 + 0.1, 0, z - head * 0.13), 0.05, "blossom"),
        ball((-0.08, 0, -high * 0.7), (0.36, wide + 0.1, 0.24), "main"),
        # To one side, so that it is visible from the front too.
        cone(
            tail_at,
            0.11,
            0.08,
            tail,
            "main",
            rotation=pointing(130, 35),
            rounding=0.05,
            name="tail",
        ),
    ]
    for s in (-1, 1):
        parts.append(
            cone(
                (x - 0.02, s * head * 0.68, z + head * 0.98),
                0.17,
                0.015,
                0.2,
                "main",
                rotation=turn("x", -s * 18),
                name="ears",
            )
        )
        parts.append(
            ball((x + head * 0.78, s * head * 0.45, z + head * 0.22), (0.07, 0.09, 0.085), "lemon")
        )
        parts.append(
            ball((x + head * 0.93, s * head * 0.47, z + head * 0.22), (0.04, 0.035, 0.07), "dark")
        )
        parts.append(
            ball(
                (deep * 0.85, s * wide * 0.4, -high * 0.5),
                (0.12, 0.11, high * 0.48),
                "main",
                name="paws",
            )
        )
    return parts


KINDS = (
    Kind("duck", duck, ("beak", "wings"), (SPOTS,), has_front=True, small=True),
    Kind(
        "rabbit",
        rabbit,
        ("ears", "tail", "feet"),
        (SPOTS,),
        has_front=True,
        synonyms=("bunny",),
        small=True,
    ),
    Kind("fish", fish, ("tail", "fins"), (SPOTS, STRIPES), has_front=True),
    Kind(
        "turtle",
        turtle,
        ("legs", "rim"),
        (SPOTS, CHECKER),
        has_front=True,
        synonyms=("tortoise",),
        small=True,
    ),
    Kind(
        "pig",
        pig,
        ("snout", "ears", "tail"),
        (SPOTS,),
        has_front=True,
        synonyms=("piglet",),
        small=True,
    ),
    Kind(
        "cat",
        cat,
        ("ears", "tail", "paws"),
        (SPOTS, STRIPES),
        has_front=True,
        synonyms=("kitten",),
        small=True,
    ),
)
