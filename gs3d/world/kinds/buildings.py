"""Buildings and shelters."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import CHECKER, STRIPES, Part, ball, box, cone, gable, torus, turn


def house(r: Rng) -> list[Part]:
    d, w = r.uniform(0.45, 0.6), r.uniform(0.5, 0.62)
    h, roof = r.uniform(0.32, 0.45), r.uniform(0.2, 0.3)
    door = r.uniform(0.11, 0.15)
    parts = [
        box((0, 0, 0), (d, w, h), "main"),
        gable((0, 0, h + roof), (d * 1.12, w * 1.18, roof), "slate", name="roof"),
        box((d, 0, -h + 1.9 * door), (0.03, door, 1.9 * door), "wood", name="door"),
        box((-d * 0.4, w * 0.45, h + 1.5 * roof), (0.07, 0.07, roof * 0.9), "brick"),
    ]
    for y in (-1, 1):
        parts.append(box((d, y * w * 0.6, h * 0.3), (0.025, 0.11, 0.12), "sky"))
        parts.append(box((0, y * w, h * 0.15), (0.16, 0.025, 0.13), "sky"))
    return parts


def castle(r: Rng) -> list[Part]:
    half, h = r.uniform(0.42, 0.52), r.uniform(0.24, 0.32)
    tower, up = r.uniform(0.14, 0.18), r.uniform(0.4, 0.5)
    roof, gate = r.uniform(0.14, 0.2), r.uniform(0.12, 0.16)
    parts = [
        box((0, 0, 0), (half, half, h), "main", patterned=True),
        box((half, 0, -h + 1.4 * gate), (0.03, gate, 1.4 * gate), "wood", name="gate"),
    ]
    for x in (-1, 1):
        for y in (-1, 1):
            parts.append(
                cone((x * half, y * half, up - h), tower, tower, up, "main", patterned=True)
            )
            parts.append(
                cone(
                    (x * half, y * half, 2 * up - h + roof),
                    tower * 1.25,
                    0.01,
                    roof,
                    "brick",
                    name="roofs",
                )
            )
    return parts


def lighthouse(r: Rng) -> list[Part]:
    wide, narrow = r.uniform(0.38, 0.43), r.uniform(0.24, 0.28)
    h, lamp = r.uniform(0.6, 0.7), r.uniform(0.11, 0.14)
    slope = (wide - narrow) / (2 * h)
    parts = [
        cone((0, 0, -h - 0.04), wide * 1.45, wide * 1.2, 0.09, "slate", name="rock"),
        cone((0, 0, 0), wide, narrow, h, "main"),
        cone((0, 0, h + 0.02), narrow * 1.55, narrow * 1.7, 0.06, "dark"),
        cone((0, 0, h + 0.06 + lamp), narrow * 0.75, narrow * 0.75, lamp, "lemon", name="lantern"),
        cone((0, 0, h + 0.2 + 2 * lamp), narrow * 1.25, 0.03, 0.14, "main", name="roof"),
        ball((0, 0, h + 0.36 + 2 * lamp), 0.055, "main", name="roof"),
        box((wide * 0.9, 0, -h + 0.24), (0.08, 0.1, 0.17), "wood"),
    ]
    for z in (-0.12 * h, 0.48 * h):
        low, high = (narrow + slope * (h - z - s * 0.11 * h) + 0.012 for s in (-1, 1))
        parts.append(cone((0, 0, z), low, high, 0.11 * h, "snow"))
    return parts


def windmill(r: Rng) -> list[Part]:
    wide, narrow = r.uniform(0.46, 0.52), r.uniform(0.29, 0.33)
    h, sail = r.uniform(0.58, 0.68), r.uniform(0.66, 0.76)
    start, x = r.uniform(30, 60), narrow + 0.17
    parts = [
        cone((0, 0, 0), wide, narrow, h, "main", patterned=True),
        cone((0, 0, h), narrow * 1.2, narrow * 1.2, 0.04, "brick", name="roof"),
        ball((0, 0, h + 0.03), (narrow * 1.12, narrow * 1.12, 0.26), "brick", name="roof"),
        box((wide * 0.92, 0, -h + 0.2), (0.09, 0.11, 0.2), "wood", name="door"),
        cone(
            (narrow * 0.7, 0, h * 0.92),
            0.06,
            0.06,
            narrow * 0.6 + 0.1,
            "dark",
            rotation=turn("y", 90),
        ),
        ball((x + 0.03, 0, h * 0.92), 0.1, "dark"),
    ]
    # Two bars that cross at the hub instead of four sails: they stay connected when the mill is
    # stretched.
    parts += [
        box(
            (x, 0, h * 0.92),
            (0.035, 0.09, sail),
            "cream",
            rotation=turn("x", start + a),
            name="sails",
        )
        for a in (0, 90)
    ]
    parts += [box((-s * 0.02, s * wide * 0.82, -0.1), (0.09, 0.07, 0.1), "sky") for s in (-1, 1)]
    return parts


def igloo(r: Rng) -> list[Part]:
    wide, high, door = r.uniform(0.66, 0.74), r.uniform(0.58, 0.66), r.uniform(0.23, 0.27)
    far = wide + r.uniform(0.12, 0.17)
    levels = (0.0, 0.32, 0.62, 0.86, 0.98)
    parts = []
    for k, (a, b) in enumerate(zip(levels, levels[1:], strict=False)):
        low, up = wide * (1 - a**2.4) ** 0.45, wide * (1 - b**2.4) ** 0.45
        z, half = high * (a + b) / 2, high * (b - a) / 2
        parts.append(cone((0, 0, z), low, up, half, "main"))
        if k < 3:
            parts.append(torus((0, 0, high * b), up - 0.01, 0.03, "slate"))
        # Joints between the blocks: plates through the center with visible edges.
        for angle in ((40, 130), (85,), (), ())[k]:
            parts.append(
                box(
                    (0, 0, z),
                    ((low + up) / 2 + 0.015, 0.025, half),
                    "slate",
                    rotation=turn("z", angle),
                )
            )
    for size, x, paint in ((1.0, far, "main"), (0.68, far + 0.03, "dark")):
        name = "" if paint == "main" else "door"
        parts.append(
            cone(
                (x / 2, 0, door),
                door * size,
                door * size,
                x / 2,
                paint,
                rotation=turn("y", 90),
                name=name,
            )
        )
        parts.append(box((x / 2, 0, door / 2), (x / 2, door * size, door / 2), paint, name=name))
    return parts


def tent(r: Rng) -> list[Part]:
    d, w, h = r.uniform(0.32, 0.38), r.uniform(0.66, 0.74), r.uniform(0.5, 0.56)
    parts = [
        gable((0, 0, 0), (d, w, h), "main", patterned=True),
        # The back is half a cone.
        cone((-d, 0, 0), w, 0.02, h, "main", patterned=True),
        gable((d, 0, -h * 0.1), (0.03, w * 0.7, h * 0.9), "cream", name="flaps"),
        gable((d + 0.03, 0, -h * 0.2), (0.03, w * 0.4, h * 0.8), "dark"),
        gable((-d - w * 0.6, 0, -h * 0.5), (w * 0.3, w * 0.36, h * 0.5), "cream", name="flaps"),
        gable((-d - w * 0.88, 0, -h * 0.62), (0.04, w * 0.2, h * 0.38), "dark"),
    ]
    for x in (-d, d - 0.03):
        parts.append(cone((x, 0, h), 0.05, 0.05, 0.14, "wood", name="poles"))
        parts.append(ball((x, 0, h + 0.14), 0.075, "wood", name="poles"))
    parts += [
        box((d, s * w * 0.97, -h + 0.06), (0.08, 0.06, 0.06), "wood", name="poles") for s in (-1, 1)
    ]
    return parts


KINDS = (
    Kind("house", house, ("roof", "door"), has_front=True, synonyms=("cottage",)),
    # No `has_front`: the gate is too small to tell the front from the back.
    Kind("castle", castle, ("roofs", "gate"), (STRIPES, CHECKER), synonyms=("fortress",)),
    Kind("lighthouse", lighthouse, ("roof", "lantern", "rock")),
    Kind("windmill", windmill, ("sails", "roof", "door"), (STRIPES, CHECKER), has_front=True),
    Kind("igloo", igloo, ("door",), has_front=True),
    Kind("tent", tent, ("flaps", "poles"), (STRIPES,), has_front=True),
)
