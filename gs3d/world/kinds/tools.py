"""Things to use."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import CHECKER, SPOTS, STRIPES, Part, ball, cone, torus, tube, turn


def mug(r: Rng) -> list[Part]:
    radius, h, wall = r.uniform(0.4, 0.48), r.uniform(0.42, 0.55), 0.045
    ring = r.uniform(0.2, 0.25)
    return [
        tube((0, 0, 0), radius, wall, h, "main", patterned=True),
        cone((0, 0, -h + 0.05), radius, radius, 0.05, "main"),
        cone((0, 0, h * 0.55), radius, radius, 0.03, "wood"),
        torus((0, radius + ring * 0.6, 0), ring, 0.06, "main", rotation=turn("y", 90), name="handle"),
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
        cone((body + spout * 0.42, 0, 0.1), 0.13, 0.065, spout, "main", rotation=turn("y", 48), name="spout"),
        torus((-body - ring * 0.6, 0, 0.02), ring, 0.055, "main", rotation=turn("x", 90), name="handle"),
    ]


def umbrella(r: Rng) -> list[Part]:
    wide, rise, pole, hook = r.uniform(0.68, 0.8), r.uniform(0.16, 0.22), r.uniform(0.62, 0.72), r.uniform(0.11, 0.14)
    return [
        cone((0, 0, pole), wide, 0.06, rise, "main", patterned=True),
        cone((0, 0, pole + rise + 0.05), 0.03, 0.01, 0.08, "steel"),
        cone((0, 0, 0), 0.035, 0.035, pole, "steel", name="pole"),
        torus((0, hook, -pole), hook, 0.045, "wood", rotation=turn("y", 90), name="handle"),
    ]


KINDS = (
    Kind("mug", mug, ("handle",), (SPOTS, STRIPES, CHECKER), synonyms=("cup",), small=True),
    Kind("teapot", teapot, ("lid", "spout", "handle"), (SPOTS, CHECKER), has_front=True, small=True),
    Kind("umbrella", umbrella, ("handle", "pole"), (SPOTS, STRIPES), synonyms=("parasol",)),
)
