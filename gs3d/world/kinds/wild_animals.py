"""Wild animals."""

import numpy as np

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import (
    CHECKER,
    SPOTS,
    STRIPES,
    Part,
    ball,
    cone,
    pointing,
    torus,
    toward,
    turn,
)


def elephant(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.48, 0.56), r.uniform(0.36, 0.42)
    high, leg = r.uniform(0.36, 0.42), r.uniform(0.24, 0.3)
    head, ear, trunk = r.uniform(0.27, 0.31), r.uniform(0.27, 0.33), r.uniform(0.27, 0.32)
    x, z = long, high * 0.5
    low = z - head * 0.3 - 1.75 * trunk
    parts = [
        ball((0, 0, 0), (long, wide, high), "main", patterned=True),
        ball((x, 0, z), (head, head * 0.95, head), "main"),
        cone(
            (x + head, 0, z - head * 0.3 - trunk * 0.8),
            0.085,
            0.15,
            trunk,
            "main",
            rotation=turn("y", -16),
            name="trunk",
        ),
        ball(
            (x + head + 0.2, 0, low + 0.06),
            (0.085, 0.085, 0.19),
            "main",
            rotation=turn("y", 62),
            name="trunk",
        ),
    ]
    for s in (-1, 1):
        ear_at = (x - head * 0.35, s * (head * 0.8 + ear * 0.6), z + 0.04)
        parts.append(
            ball(
                ear_at,
                (0.065, ear * 0.85, ear * 1.1),
                "main",
                rotation=turn("z", s * 22),
                name="ears",
            )
        )
        tusk_at = (x + head * 0.95, s * head * 0.58, z - head * 0.65)
        parts.append(
            cone(
                tusk_at,
                0.065,
                0.035,
                0.17,
                "cream",
                rotation=turn("y", 105),
                rounding=0.02,
                name="tusks",
            )
        )
        parts.append(ball((x + head * 0.82, s * head * 0.52, z + head * 0.35), 0.05, "dark"))
        for side in (-1, 1):
            parts.append(
                cone(
                    (side * long * 0.58, s * wide * 0.52, -high * 0.6 - leg),
                    0.16,
                    0.15,
                    leg,
                    "main",
                    rounding=0.03,
                )
            )
    return parts


def giraffe(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.38, 0.44), r.uniform(0.25, 0.29)
    high, leg = r.uniform(0.26, 0.3), r.uniform(0.28, 0.34)
    neck, lean = r.uniform(0.4, 0.48), r.uniform(16, 24)
    lean_z, lean_x = toward(lean)
    x, z = long * 0.62 + 2 * neck * lean_x, high * 0.2 + 2 * neck * lean_z
    neck_at = (long * 0.62 + neck * lean_x, 0, high * 0.2 + neck * lean_z)
    parts = [
        ball((0, 0, 0), (long, wide, high), "main", patterned=True),
        cone(neck_at, 0.19, 0.13, neck, "main", rotation=turn("y", lean), patterned=True),
        ball((x + 0.1, 0, z), (0.27, 0.16, 0.16), "main", rotation=turn("y", 22)),
        cone((-long, 0, -0.1), 0.07, 0.05, 0.2, "main", rotation=turn("y", 14), name="tail"),
    ]
    for s in (-1, 1):
        parts.append(
            cone(
                (x - 0.02, s * 0.085, z + 0.21),
                0.05,
                0.065,
                0.12,
                "wood",
                rounding=0.02,
                name="horns",
            )
        )
        parts.append(
            ball(
                (x - 0.06, s * 0.22, z + 0.09),
                (0.05, 0.14, 0.075),
                "main",
                rotation=turn("x", s * 20),
            )
        )
        parts.append(ball((x + 0.14, s * 0.135, z + 0.05), 0.05, "dark"))
        for side in (-1, 1):
            parts.append(
                cone(
                    (side * long * 0.6, s * wide * 0.55, -high * 0.5 - leg),
                    0.085,
                    0.1,
                    leg,
                    "main",
                    name="legs",
                )
            )
    return parts


def penguin(r: Rng) -> list[Part]:
    deep, wide = r.uniform(0.34, 0.38), r.uniform(0.38, 0.43)
    high, head = r.uniform(0.52, 0.6), r.uniform(0.27, 0.3)
    z = high + head * 0.3
    parts = [
        ball((0, 0, 0), (deep, wide, high), "main"),
        ball(
            (deep * 0.3, 0, -high * 0.05),
            (deep * 0.85, wide * 0.75, high * 0.82),
            "snow",
            name="belly",
        ),
        ball((0.02, 0, z), head, "main"),
        cone(
            (head * 1.1, 0, z - 0.04),
            0.1,
            0.02,
            0.15,
            "carrot",
            rotation=turn("y", 96),
            name="beak",
        ),
        cone((-deep * 0.85, 0, -high * 0.75), 0.13, 0.04, 0.18, "main", rotation=turn("y", -120)),
    ]
    for s in (-1, 1):
        parts.append(
            ball(
                (0, s * (wide + 0.05), 0.02),
                (0.17, 0.06, high * 0.68),
                "main",
                rotation=turn("x", s * 18),
            )
        )
        parts.append(
            ball((0.17, s * wide * 0.45, -high * 0.97), (0.25, 0.15, 0.075), "carrot", name="feet")
        )
        parts.append(ball((head * 0.8, s * head * 0.45, z + head * 0.3), 0.085, "snow"))
        parts.append(ball((head * 1.02, s * head * 0.5, z + head * 0.32), 0.045, "dark"))
    return parts


def octopus(r: Rng) -> list[Part]:
    wide, high, arm = r.uniform(0.4, 0.47), r.uniform(0.44, 0.54), r.uniform(0.27, 0.33)
    parts = [ball((0, 0, high * 0.65), (wide, wide, high), "main", patterned=True)]
    for k in range(8):
        out = pointing(22.5 + 45 * k, 112 if k % 2 else 92)
        x, y, z = (float(v) for v in np.asarray(out)[:, 2] * (wide * 0.4 + arm))
        parts.append(
            cone((x, y, z), 0.17, 0.1, arm, "main", rotation=out, rounding=0.08, name="tentacles")
        )
    for s in (-1, 1):
        parts.append(ball((wide * 0.8, s * wide * 0.45, high * 0.6), (0.09, 0.12, 0.12), "snow"))
        parts.append(
            ball((wide * 0.8 + 0.07, s * wide * 0.45, high * 0.6), (0.05, 0.06, 0.06), "dark")
        )
    return parts


def snail(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.68, 0.76), r.uniform(0.27, 0.32)
    shell, thick = r.uniform(0.35, 0.41), r.uniform(0.27, 0.32)
    neck, stalk = r.uniform(0.22, 0.26), r.uniform(0.15, 0.19)
    x, z = long * 0.82, 2 * neck
    at = (-0.12, 0, shell * 0.85 + 0.14)
    parts = [
        ball((0, 0, 0), (long, wide, 0.23), "main"),
        cone((x, 0, neck), 0.19, 0.17, neck, "main", rounding=0.05),
        ball((x + 0.05, 0, z), (0.23, 0.22, 0.2), "main"),
        ball(at, (shell, thick, shell), "main", patterned=True, name="shell"),
    ]
    for s in (-1, 1):
        parts.append(
            torus(
                (at[0], s * thick * 0.62, at[2]),
                shell * 0.68,
                0.045,
                "waffle",
                rotation=turn("x", 90),
            )
        )
        parts.append(
            torus(
                (at[0], s * thick * 0.95, at[2]),
                shell * 0.28,
                0.045,
                "waffle",
                rotation=turn("x", 90),
            )
        )
        parts.append(
            cone(
                (x + 0.08, s * 0.13, z + stalk + 0.08),
                0.06,
                0.05,
                stalk,
                "main",
                rotation=turn("x", -s * 16),
            )
        )
        parts.append(ball((x + 0.08, s * 0.19, z + 2 * stalk + 0.1), 0.08, "dark"))
    return parts


KINDS = (
    Kind("elephant", elephant, ("ears", "trunk", "tusks"), (SPOTS, CHECKER), has_front=True),
    Kind("giraffe", giraffe, ("legs", "horns", "tail"), (SPOTS, STRIPES), has_front=True),
    Kind("penguin", penguin, ("belly", "beak", "feet"), has_front=True, small=True),
    Kind("octopus", octopus, ("tentacles",), (SPOTS,), has_front=True, small=True),
    Kind("snail", snail, ("shell",), (SPOTS, STRIPES), has_front=True, small=True),
)
