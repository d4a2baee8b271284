"""Things to eat."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import CHECKER, SPOTS, STRIPES, Part, ball, cone, torus


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


KINDS = (
    Kind("ice cream", ice_cream, ("cone", "cherry"), (SPOTS,), small=True),
    Kind("cake", cake, ("icing", "candle"), (SPOTS, STRIPES, CHECKER), small=True),
)
