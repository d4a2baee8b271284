"""Things that grow."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import SPOTS, STRIPES, Part, ball, cone, turn


def mushroom(r: Rng) -> list[Part]:
    h, cap, stem = r.uniform(0.4, 0.6), r.uniform(0.6, 0.8), r.uniform(0.17, 0.25)
    rise = cap * r.uniform(0.55, 0.8)
    return [
        cone((0, 0, 0), stem * 1.2, stem, h, "cream", rounding=0.02, name="stem"),
        ball((0, 0, h), (cap, cap, rise), "main", patterned=True),
        cone((0, 0, h - 0.42 * rise), cap * 0.86, cap * 0.95, 0.3 * rise, "cream"),
    ]


def tree(r: Rng) -> list[Part]:
    tiers = int(r.integers(2, 4))
    trunk, width = r.uniform(0.15, 0.3), r.uniform(0.5, 0.65)
    parts = [cone((0, 0, 0), 0.12, 0.1, trunk, "wood", name="trunk")]
    z = trunk * 0.8
    for i in range(tiers):
        w = width * (1 - 0.24 * i)
        half = 0.3 * (1 - 0.1 * i)
        parts.append(cone((0, 0, z + half), w, 0.16 * w if i < tiers - 1 else 0.02, half, "main"))
        z += 1.25 * half
    return parts


def cactus(r: Rng) -> list[Part]:
    trunk, h, arm = r.uniform(0.2, 0.25), r.uniform(0.6, 0.72), r.uniform(0.11, 0.14)
    reach, pot = r.uniform(0.36, 0.44), r.uniform(0.32, 0.38)
    parts = [
        cone((0, 0, -h * 0.9), pot * 0.75, pot, 0.2, "brick", name="pot"),
        ball((0, 0, 0), (trunk, trunk, h), "main", patterned=True),
        ball((0, 0, h), 0.09, "blossom", name="flower"),
    ]
    for side, low in ((-1, r.uniform(-0.15, 0.0)), (1, r.uniform(0.05, 0.2))):
        parts.append(cone((0, side * reach * 0.5, low), arm * 0.85, arm * 0.85, reach * 0.5, "main", rotation=turn("x", 90)))
        parts.append(ball((0, side * reach, low + 0.16), (arm, arm, 0.28), "main"))
    return parts


KINDS = (
    Kind("mushroom", mushroom, ("stem",), (SPOTS,), synonyms=("toadstool",), small=True),
    Kind("tree", tree, ("trunk",)),
    Kind("cactus", cactus, ("pot", "flower"), (SPOTS, STRIPES), small=True),
)
