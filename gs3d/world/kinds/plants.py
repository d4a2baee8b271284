"""Plants and mushrooms."""

import numpy as np

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import (
    SPOTS,
    STRIPES,
    Part,
    ball,
    box,
    cone,
    gable,
    pointing,
    rotation,
    toward,
    turn,
)


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
        parts.append(
            cone(
                (0, side * reach * 0.5, low),
                arm * 0.85,
                arm * 0.85,
                reach * 0.5,
                "main",
                rotation=turn("x", 90),
            )
        )
        parts.append(ball((0, side * reach, low + 0.16), (arm, arm, 0.28), "main"))
    return parts


def palm(r: Rng) -> list[Part]:
    h, inner = r.uniform(0.2, 0.24), r.uniform(0.25, 0.29)
    outer, bend = r.uniform(0.29, 0.33), r.uniform(0.03, 0.06)
    rise, fall = r.uniform(18, 26), r.uniform(45, 55)
    parts = [
        cone((bend * k * k / 2, 0, 2 * h * k), 0.1, 0.13, h * 1.02, "wood", name="trunk")
        for k in range(3)
    ]
    x, z = 2 * bend, 5 * h
    parts.append(ball((x + 0.13, 0.08, z - 0.08), 0.1, "wood", name="trunk"))
    (out, up), (over, down) = toward(rise, inner), toward(fall, outer)
    far, low = 1.7 * out + 0.7 * over, 1.8 * up - 0.7 * down
    for k in range(5):
        azimuth = 72.0 * k + 15
        c, s = toward(azimuth)
        for at, above, half, tilt in ((out, up, inner * 1.2, -rise), (far, low, outer, fall)):
            center = (x + c * at, s * at, z + above)
            parts.append(
                ball(center, (half, 0.17, 0.065), "main", rotation=pointing(azimuth, tilt))
            )
    return parts


def pumpkin(r: Rng) -> list[Part]:
    rib, ring, squat = r.uniform(0.27, 0.31), r.uniform(0.26, 0.3), r.uniform(0.38, 0.44)
    eye = r.uniform(0.11, 0.13)
    parts = [
        cone((0, 0, squat + 0.05), 0.13, 0.08, 0.14, "wood", rotation=turn("y", -10), name="stem")
    ]
    for k in range(9):
        parts.append(
            ball(
                (*toward(40 * k, ring), 0),
                (rib, rib * 0.82, squat),
                "main",
                rotation=turn("z", 40 * k),
            )
        )
    x, out = toward(22, ring + rib - 0.1)
    for side in (-1, 1):
        y = side * out
        eye_rotation = pointing(side * 22, -18)
        mouth_rotation = rotation(pointing(side * 22, 12), turn("x", side * 25))
        parts.append(
            gable(
                (x - 0.03, y, squat * 0.3),
                (0.1, eye, eye),
                "dark",
                rotation=eye_rotation,
                name="eyes",
            )
        )
        parts.append(
            box(
                (x, y, -squat * 0.36),
                (0.1, 0.18, 0.07),
                "dark",
                rotation=mouth_rotation,
                rounding=0.03,
                name="mouth",
            )
        )
    return parts


def sunflower(r: Rng) -> list[Part]:
    head, petal, h = r.uniform(0.26, 0.3), r.uniform(0.3, 0.34), r.uniform(0.4, 0.48)
    pot, up, cup = r.uniform(0.26, 0.3), r.uniform(16, 24), r.uniform(32, 40)
    face = turn("y", -up)
    parts = [
        cone((0, 0, -h - 0.1), pot * 0.75, pot, 0.2, "brick", name="pot"),
        cone((-0.08, 0, -0.05), 0.06, 0.06, h, "leaf", name="leaves"),
        ball((0.08, 0, h), (0.2, head, head), "wood", rotation=face),
        ball((-0.1, 0, h), (0.12, head, head), "main", rotation=face),
    ]
    for k in range(8):
        turned = rotation(face, turn("x", 45 * k), turn("y", cup))
        reach = np.asarray(rotation(face, turn("x", 45 * k))) @ np.array(
            [0.05, 0, head + petal * 0.3]
        )
        center = (float(reach[0]), float(reach[1]), h + float(reach[2]))
        parts.append(ball(center, (0.07, 0.16, petal), "main", rotation=turned))
    for side in (-1, 1):
        at = (side * 0.12 - 0.06, side * 0.2, -h * 0.45)
        parts.append(
            ball(at, (0.25, 0.13, 0.06), "leaf", rotation=pointing(side * 60, -28), name="leaves")
        )
    return parts


KINDS = (
    Kind("mushroom", mushroom, ("stem",), (SPOTS,), synonyms=("toadstool",), small=True),
    Kind("tree", tree, ("trunk",)),
    Kind("cactus", cactus, ("pot", "flower"), (SPOTS, STRIPES), small=True),
    Kind("palm", palm, ("trunk",)),
    Kind("pumpkin", pumpkin, ("stem", "eyes", "mouth"), has_front=True, small=True),
    Kind("sunflower", sunflower, ("pot", "leaves"), has_front=True, small=True),
)
