"""Things that live."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import SPOTS, STRIPES, Part, ball, box, cone, gable, turn


def duck(r: Rng) -> list[Part]:
    long, wide, high, head = r.uniform(0.6, 0.68), r.uniform(0.4, 0.46), r.uniform(0.32, 0.38), r.uniform(0.25, 0.3)
    x, z = long * 0.55, high + head * 0.72
    parts = [
        ball((0, 0, 0), (long, wide, high), "main", patterned=True),
        ball((x, 0, z), head, "main"),
        cone((-long * 0.9, 0, high * 0.55), 0.17, 0.02, 0.2, "main", rotation=turn("y", -40)),
        ball((x + head * 1.1, 0, z - 0.04), (0.2, 0.13, 0.055), "carrot", name="beak"),
    ]
    for s in (-1, 1):
        parts.append(ball((x + head * 0.72, s * head * 0.55, z + head * 0.4), 0.055, "dark"))
        parts.append(ball((-long * 0.1, s * wide * 0.88, high * 0.2), (long * 0.45, 0.09, high * 0.5), "main", name="wings"))
    return parts


def rabbit(r: Rng) -> list[Part]:
    long, wide, high, head = r.uniform(0.42, 0.5), r.uniform(0.34, 0.4), r.uniform(0.36, 0.42), r.uniform(0.25, 0.29)
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
        parts.append(ball(ear_at, (0.07, 0.1, ear), "main", rotation=turn("x", -s * lean), name="ears"))
        parts.append(ball((x + head * 0.8, s * head * 0.48, z + head * 0.32), 0.055, "dark"))
        parts.append(ball((long * 0.6, s * wide * 0.55, -high * 0.85), (0.22, 0.12, 0.1), "main", name="feet"))
    return parts


def fish(r: Rng) -> list[Part]:
    long, wide, high, tail = r.uniform(0.58, 0.66), r.uniform(0.2, 0.25), r.uniform(0.34, 0.42), r.uniform(0.26, 0.32)
    parts = [
        ball((0, 0, 0), (long, wide, high), "main", patterned=True),
        # A flat triangle: its point meets the body, its base ends the tail.
        gable((-long * 0.9 - tail * 0.5, 0, 0), (0.04, tail * 1.1, tail * 0.7), "main", rotation=_BACKWARDS, name="tail"),
        box((-long * 0.05, 0, high), (long * 0.4, 0.035, 0.14), "main", rounding=0.03, name="fins"),
        ball((long * 0.98, 0, -0.06), (0.06, 0.09, 0.04), "cherry"),
    ]
    for s in (-1, 1):
        parts.append(ball((long * 0.66, s * wide * 0.72, high * 0.2), 0.075, "snow"))
        parts.append(ball((long * 0.7, s * wide * 0.88, high * 0.2), 0.04, "dark"))
        parts.append(ball((0.02, s * wide * 1.05, -high * 0.25), (0.16, 0.05, 0.09), "main", rotation=turn("y", 25), name="fins"))
    return parts


_BACKWARDS = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""A gable's thickness along y, its base along z, its ridge towards +X."""

KINDS = (
    Kind("duck", duck, ("beak", "wings"), (SPOTS,), has_front=True, small=True),
    Kind("rabbit", rabbit, ("ears", "tail", "feet"), (SPOTS,), has_front=True, synonyms=("bunny",), small=True),
    Kind("fish", fish, ("tail", "fins"), (SPOTS, STRIPES), has_front=True),
)
