"""Tools, containers and devices."""

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
    tube,
    turn,
)


def mug(r: Rng) -> list[Part]:
    radius, h, wall = r.uniform(0.4, 0.48), r.uniform(0.42, 0.55), 0.045
    ring = r.uniform(0.2, 0.25)
    return [
        tube((0, 0, 0), radius, wall, h, "main", patterned=True),
        cone((0, 0, -h + 0.05), radius, radius, 0.05, "main"),
        cone((0, 0, h * 0.55), radius, radius, 0.03, "wood"),
        torus(
            (0, radius + ring * 0.6, 0), ring, 0.06, "main", rotation=turn("y", 90), name="handle"
        ),
    ]


def teapot(r: Rng) -> list[Part]:
    body, squat, ring = r.uniform(0.46, 0.52), r.uniform(0.78, 0.9), r.uniform(0.22, 0.26)
    spout = r.uniform(0.26, 0.32)
    high = body * squat
    return [
        ball((0, 0, 0), (body, body, high), "main", patterned=True),
        cone((0, 0, -high * 0.93), body * 0.6, body * 0.55, 0.06, "main"),
        ball((0, 0, high * 0.93), (body * 0.45, body * 0.45, 0.1), "main", name="lid"),
        ball((0, 0, high * 0.93 + 0.14), 0.07, "main", name="lid"),
        cone(
            (body + spout * 0.42, 0, 0.1),
            0.13,
            0.065,
            spout,
            "main",
            rotation=turn("y", 48),
            name="spout",
        ),
        torus(
            (-body - ring * 0.6, 0, 0.02),
            ring,
            0.055,
            "main",
            rotation=turn("x", 90),
            name="handle",
        ),
    ]


def umbrella(r: Rng) -> list[Part]:
    wide, rise = r.uniform(0.68, 0.8), r.uniform(0.16, 0.22)
    pole, hook = r.uniform(0.62, 0.72), r.uniform(0.11, 0.14)
    return [
        cone((0, 0, pole), wide, 0.06, rise, "main", patterned=True),
        cone((0, 0, pole + rise + 0.05), 0.03, 0.01, 0.08, "steel"),
        cone((0, 0, 0), 0.035, 0.035, pole, "steel", name="pole"),
        torus((0, hook, -pole), hook, 0.045, "wood", rotation=turn("y", 90), name="handle"),
    ]


def hammer(r: Rng) -> list[Part]:
    grip, h = r.uniform(0.13, 0.15), r.uniform(0.54, 0.62)
    thick, long = r.uniform(0.18, 0.21), r.uniform(0.3, 0.35)
    top, along = h + thick * 0.6, turn("y", 90)
    parts = [
        cone((0, 0, 0), grip * 1.1, grip, h, "main", patterned=True),
        cone(
            (0, 0, -h * 0.6), grip * 1.6, grip * 1.25, h * 0.4, "main", rounding=0.05, name="grip"
        ),
        box((0, 0, top), (0.17, thick, thick), "steel", rounding=0.04, name="head"),
        cone(
            (long * 0.6, 0, top),
            thick * 0.75,
            thick * 0.75,
            long * 0.6,
            "steel",
            rotation=along,
            name="head",
        ),
        cone(
            (long * 1.2, 0, top),
            thick * 1.05,
            thick * 1.05,
            0.1,
            "steel",
            rotation=along,
            name="head",
        ),
    ]
    for s in (-1, 1):
        claw = pointing(-s * 24, -114)
        at = (-long * 0.85, s * (0.08 + long * 0.25), top - 0.09)
        parts.append(cone(at, 0.13, 0.04, long * 0.85, "steel", rotation=claw, name="head"))
    return parts


def bottle(r: Rng) -> list[Part]:
    wide, h = r.uniform(0.34, 0.4), r.uniform(0.4, 0.48)
    neck, thin = r.uniform(0.15, 0.2), r.uniform(0.12, 0.14)
    slope = wide * 0.42
    return [
        cone((0, 0, 0), wide, wide, h, "main", rounding=0.05, patterned=True),
        cone((0, 0, h + slope - 0.03), wide * 0.97, thin, slope, "main", patterned=True),
        cone((0, 0, h + 2 * slope + neck - 0.06), thin, thin, neck, "main"),
        cone((0, 0, h + 2 * slope + 2 * neck), thin * 1.35, thin * 1.35, 0.1, "wood", name="cap"),
        cone((0, 0, -h * 0.15), wide + 0.015, wide + 0.015, h * 0.38, "cream", name="label"),
    ]


def bucket(r: Rng) -> list[Part]:
    top, bottom, h = r.uniform(0.5, 0.56), r.uniform(0.34, 0.4), r.uniform(0.42, 0.5)
    lean = r.uniform(20, 35)
    parts = [
        cone((0, 0, 0), bottom, top, h, "main", patterned=True),
        cone((0, 0, h), top * 0.93, top * 0.93, 0.02, "dark"),
        torus((0, 0, h), top, 0.06, "main", name="rim"),
        cone((0, 0, -h), bottom * 1.06, bottom * 1.06, 0.05, "main", name="rim"),
        torus((0, 0, h), top * 0.97, 0.045, "steel", rotation=turn("y", 90 - lean), name="handle"),
    ]
    parts += [ball((0, s * top, h), 0.1, "steel", name="handle") for s in (-1, 1)]
    return parts


def camera(r: Rng) -> list[Part]:
    d, w = r.uniform(0.24, 0.28), r.uniform(0.58, 0.66)
    h, lens = r.uniform(0.36, 0.42), r.uniform(0.28, 0.32)
    out = r.uniform(0.16, 0.22)
    along = turn("y", 90)
    return [
        box((0, 0, 0), (d, w, h), "main", rounding=0.08, patterned=True),
        box((0, 0, h + 0.08), (d * 0.8, w * 0.36, 0.13), "main", rounding=0.06),
        cone((d + out * 0.5, 0, -0.03), lens, lens, out * 0.8, "main", rotation=along, name="lens"),
        cone(
            (d + out * 1.35, 0, -0.03), lens * 0.88, lens * 0.88, out * 0.5, "dark", rotation=along
        ),
        cone((d + out * 1.85, 0, -0.03), lens * 0.6, lens * 0.6, 0.02, "sky", rotation=along),
        cone((0, w * 0.7, h + 0.05), 0.12, 0.12, 0.08, "cherry", name="button"),
        cone((0, -w * 0.7, h + 0.04), 0.15, 0.15, 0.06, "steel"),
        box((d, -w * 0.66, h * 0.62), (0.03, 0.12, 0.08), "lemon"),
        box((-d, w * 0.12, -0.03), (0.04, w * 0.55, h * 0.6), "dark"),
        box((-d - 0.02, w * 0.12, -0.03), (0.04, w * 0.46, h * 0.48), "sky"),
        ball((-d * 0.8, 0, h + 0.08), (0.08, 0.12, 0.07), "dark"),
    ]


KINDS = (
    Kind("mug", mug, ("handle",), (SPOTS, STRIPES, CHECKER), synonyms=("cup",), small=True),
    Kind(
        "teapot", teapot, ("lid", "spout", "handle"), (SPOTS, CHECKER), has_front=True, small=True
    ),
    Kind("umbrella", umbrella, ("handle", "pole"), (SPOTS, STRIPES), synonyms=("parasol",)),
    Kind("hammer", hammer, ("head", "grip"), (STRIPES,), has_front=True),
    Kind("bottle", bottle, ("cap", "label"), (SPOTS,), small=True),
    Kind(
        "bucket",
        bucket,
        ("handle", "rim"),
        (SPOTS, STRIPES, CHECKER),
        synonyms=("pail",),
        small=True,
    ),
    Kind("camera", camera, ("lens", "button"), (SPOTS,), has_front=True, small=True),
)
