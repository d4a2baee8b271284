"""Toys and a snowman."""

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
    toward,
    turn,
)


def snowman(r: Rng) -> list[Part]:
    a, b, c = r.uniform(0.46, 0.54), r.uniform(0.35, 0.4), r.uniform(0.27, 0.31)
    z2, z3 = 0.8 * a + 0.55 * b, 0.8 * a + 1.25 * b + 0.65 * c
    parts = [
        ball((0, 0, 0), a, "main"),
        ball((0, 0, z2), b, "main"),
        ball((0, 0, z3), c, "main"),
        cone(
            (c + 0.1, 0, z3 - 0.01),
            0.065,
            0.008,
            0.15,
            "carrot",
            rotation=turn("y", 90),
            name="nose",
        ),
        cone((0, 0, z3 + 0.85 * c), c * 1.1, c * 1.1, 0.025, "dark", name="hat"),
        cone((0, 0, z3 + 0.85 * c + 0.11), c * 0.66, c * 0.66, 0.11, "dark", name="hat"),
    ]
    parts += [ball((c * 0.86, s * c * 0.4, z3 + 0.32 * c), 0.045, "dark") for s in (-1, 1)]
    parts += [ball((b * 0.97, 0, z2 + s * 0.12), 0.045, "dark") for s in (-1, 0, 1)]
    return parts


def robot(r: Rng) -> list[Part]:
    d, w = r.uniform(0.2, 0.25), r.uniform(0.3, 0.36)
    h, head = r.uniform(0.33, 0.4), r.uniform(0.2, 0.24)
    leg, arm = r.uniform(0.22, 0.28), r.uniform(0.26, 0.32)
    z = h + head * 0.95
    parts = [
        box((0, 0, 0), (d, w, h), "main", rounding=0.04, patterned=True),
        box((0, 0, z), (head * 0.9, head * 1.1, head * 0.85), "steel", rounding=0.04, name="head"),
        box((d, 0, h * 0.15), (0.03, w * 0.55, h * 0.4), "dark"),
        cone((0, 0, z + head * 1.1), 0.025, 0.025, 0.1, "dark"),
        ball((0, 0, z + head * 1.1 + 0.12), 0.055, "cherry"),
    ]
    for s in (-1, 1):
        parts.append(ball((head * 0.9, s * head * 0.48, z + 0.03), 0.065, "lemon"))
        parts.append(
            box(
                (0, s * (w + 0.09), h * 0.8 - arm),
                (0.09, 0.075, arm),
                "steel",
                rounding=0.04,
                name="arms",
            )
        )
        parts.append(
            box((0, s * w * 0.55, -h - leg), (0.11, 0.1, leg), "steel", rounding=0.03, name="legs")
        )
        parts.append(
            box((0.06, s * w * 0.55, -h - 2 * leg), (0.19, 0.13, 0.06), "dark", rounding=0.03)
        )
    return parts


def toy_ball(r: Rng) -> list[Part]:
    return [ball((0, 0, 0), r.uniform(0.5, 0.6), "main", patterned=True)]


def drum(r: Rng) -> list[Part]:
    wide, h, stick = r.uniform(0.5, 0.56), r.uniform(0.43, 0.49), r.uniform(0.42, 0.48)
    parts = [
        cone((0, 0, 0), wide, wide, h, "main"),
        cone((0, 0, h), wide * 0.97, wide * 0.97, 0.05, "snow"),
        torus((0, 0, h), wide, 0.055, "flame", name="rims"),
        torus((0, 0, -h), wide, 0.055, "flame", name="rims"),
    ]
    for k in range(8):
        parts.append(
            gable((*toward(45 * k, wide), 0), (0.04, 0.1, h), "snow", rotation=turn("z", 45 * k))
        )
    for s in (-1, 1):
        parts.append(
            cone(
                (0, s * 0.1, h + 0.05 + stick * 0.24),
                0.05,
                0.07,
                stick,
                "wood",
                rotation=pointing(s * 40, 76),
                name="sticks",
            )
        )
    return parts


KINDS = (
    Kind("snowman", snowman, ("hat", "nose"), has_front=True),
    Kind(
        "robot",
        robot,
        ("head", "arms", "legs"),
        (STRIPES, CHECKER),
        has_front=True,
        synonyms=("android",),
        small=True,
    ),
    Kind("ball", toy_ball, (), (SPOTS, STRIPES, CHECKER), synonyms=("sphere",), small=True),
    Kind("drum", drum, ("rims", "sticks")),
)
