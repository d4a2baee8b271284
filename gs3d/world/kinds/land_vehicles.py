"""Vehicles for roads, rails and open ground."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import SPOTS, STRIPES, Part, ball, box, cone, gable, turn


def car(r: Rng) -> list[Part]:
    length, width = r.uniform(0.8, 0.95), r.uniform(0.36, 0.44)
    low, up = r.uniform(0.14, 0.19), r.uniform(0.13, 0.18)
    wheel = r.uniform(0.17, 0.21)
    back, cabin = -r.uniform(0.1, 0.2), r.uniform(0.36, 0.46)
    top = 2 * low + up
    parts = [
        box((0, 0, low), (length, width, low), "main", rounding=0.05),
        box((back, 0, top), (cabin, width * 0.84, up), "main", rounding=0.05),
        box((back + cabin, 0, top), (0.025, width * 0.72, up * 0.72), "sky"),
        box((back - cabin, 0, top), (0.02, width * 0.6, up * 0.6), "sky"),
        box((back, 0, top), (cabin * 0.78, width * 0.87, up * 0.62), "sky"),
    ]
    for side in (-1, 1):
        for x in (-1, 1):
            parts.append(
                cone(
                    (x * length * 0.6, side * width, 0),
                    wheel,
                    wheel,
                    0.07,
                    "dark",
                    rotation=turn("x", 90),
                    name="wheels",
                )
            )
        parts.append(ball((length, side * width * 0.62, low * 1.2), (0.04, 0.09, 0.08), "lemon"))
    return parts


def truck(r: Rng) -> list[Part]:
    cargo, wide = r.uniform(0.44, 0.52), r.uniform(0.36, 0.42)
    high, cab = r.uniform(0.34, 0.4), r.uniform(0.19, 0.23)
    wheel, front = r.uniform(0.2, 0.23), cargo + 0.14
    top = 0.1 + 1.35 * high
    parts = [
        box((0, 0, 0.1 + high), (cargo, wide, high), "main", rounding=0.03, patterned=True),
        box(
            (front + cab, 0, 0.02 + top / 2),
            (cab, wide * 0.92, top / 2),
            "main",
            rounding=0.05,
            name="cab",
        ),
        box(
            (front + cab * 1.55, 0, 0.2),
            (cab * 0.95, wide * 0.92, 0.18),
            "main",
            rounding=0.05,
            name="cab",
        ),
        box((cab, 0, 0.04), (cargo + cab, wide * 0.7, 0.07), "dark"),
        box((front + 2 * cab, 0, top * 0.74), (0.03, wide * 0.75, top * 0.19), "sky"),
        box((front + cab * 1.1, 0, top * 0.74), (cab * 0.55, wide * 0.95, top * 0.17), "sky"),
        box((-cargo, 0, 0.1 + high), (0.03, 0.03, high * 0.9), "steel"),
    ]
    for s in (-1, 1):
        for x in (-cargo * 0.5, front + cab * 1.3):
            parts.append(
                cone(
                    (x, s * wide * 0.88, 0),
                    wheel,
                    wheel,
                    0.08,
                    "dark",
                    rotation=turn("x", 90),
                    name="wheels",
                )
            )
        parts.append(ball((front + cab * 2.5, s * wide * 0.62, 0.2), (0.04, 0.08, 0.07), "lemon"))
    return parts


def bus(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.74, 0.84), r.uniform(0.32, 0.37)
    high, wheel = r.uniform(0.36, 0.42), r.uniform(0.17, 0.2)
    z, pane = 0.1 + 1.4 * high, high * 0.32
    parts = [
        box((0, 0, 0.1 + high), (long, wide, high), "main", rounding=0.06),
        box((long, 0, z - 0.02), (0.03, wide * 0.8, pane * 1.2), "sky"),
        box((-long, 0, z + 0.03), (0.03, wide * 0.72, pane * 0.8), "sky"),
        box((-long, 0, 0.1 + high * 0.45), (0.03, wide * 0.8, 0.05), "cherry"),
    ]
    parts += [
        box((long * x, 0, z), (long * 0.17, wide * 1.03, pane), "sky")
        for x in (-0.69, -0.23, 0.23, 0.69)
    ]
    for s in (-1, 1):
        for x in (-0.58, 0.58):
            parts.append(
                cone(
                    (x * long, s * wide * 0.9, 0.06),
                    wheel,
                    wheel,
                    0.09,
                    "dark",
                    rotation=turn("x", 90),
                    name="wheels",
                )
            )
        parts.append(ball((long, s * wide * 0.65, 0.1 + high * 0.4), (0.05, 0.08, 0.08), "lemon"))
    return parts


def train(r: Rng) -> list[Part]:
    long, boiler = r.uniform(0.44, 0.5), r.uniform(0.24, 0.28)
    wheel, cab = r.uniform(0.18, 0.21), r.uniform(0.2, 0.24)
    z, high, wide, funnel = 0.2 + boiler, r.uniform(0.42, 0.48), boiler * 1.3, r.uniform(0.32, 0.38)
    front, back, lying = long + 0.02, -long - cab, turn("y", 90)
    parts = [
        cone((0, 0, z), boiler, boiler, long + 0.04, "main", rotation=lying, patterned=True),
        cone((front, 0, z), boiler * 0.68, boiler * 0.6, 0.06, "dark", rotation=lying),
        ball((front + 0.06, 0, z), 0.08, "lemon"),
        box((back, 0, 0.04 + high), (cab, wide, high), "main", rounding=0.03, name="cab"),
        ball((back, 0, 0.04 + 2 * high), (cab * 1.5, wide * 1.25, 0.09), "slate"),
        box((back, 0, 0.04 + 1.46 * high), (cab * 0.55, wide * 1.04, high * 0.26), "sky"),
        box((back - cab, 0, 0.04 + 1.46 * high), (0.03, wide * 0.6, high * 0.26), "sky"),
        cone(
            (front - 0.24, 0, z + boiler + funnel - 0.06),
            0.1,
            0.19,
            funnel,
            "slate",
            name="chimney",
        ),
        ball((-0.1, 0, z + boiler), (0.13, 0.13, 0.17), "flame"),
        gable((front + 0.02, 0, 0.06), (wide * 0.9, 0.22, 0.2), "main", rotation=turn("z", 90)),
        box((-cab, 0, 0.08), (long + cab + 0.04, boiler * 0.75, 0.1), "dark"),
    ]
    # One wide cylinder per axle stands for both wheels; its middle is hidden.
    for x in (back, back + 2.2 * wheel, back + 4.4 * wheel):
        parts.append(
            cone((x, 0, 0.04), wheel, wheel, wide, "slate", rotation=turn("x", 90), name="wheels")
        )
    return parts


def tank(r: Rng) -> list[Part]:
    long, wide, high = r.uniform(0.64, 0.72), r.uniform(0.3, 0.35), r.uniform(0.15, 0.18)
    turret, up, gun = r.uniform(0.29, 0.34), r.uniform(0.14, 0.17), r.uniform(0.34, 0.42)
    z, lying = 0.14 + 2 * high, turn("y", 90)
    parts = [
        box((0, 0, 0.12 + high), (long, wide + 0.14, high), "main", rounding=0.05),
        cone((-0.08, 0, z + up - 0.04), turret * 1.1, turret * 0.8, up, "main", name="turret"),
        cone((-0.15, 0, z + 2 * up), 0.12, 0.11, 0.06, "main", name="turret"),
        cone((turret + gun - 0.12, 0, z + up), 0.07, 0.06, gun, "main", rotation=lying, name="gun"),
        cone((turret + 2 * gun - 0.12, 0, z + up), 0.09, 0.09, 0.08, "dark", rotation=lying),
        box((-long, 0, 0.16 + high), (0.04, wide * 0.55, high * 0.4), "dark"),
    ]
    for s in (-1, 1):
        parts.append(
            box(
                (0, s * wide, 0.02),
                (long * 1.06, 0.17, 0.22),
                "slate",
                rounding=0.12,
                name="tracks",
            )
        )
        for x in (-0.62, 0, 0.62):
            parts.append(
                cone(
                    (x * long, s * (wide + 0.15), -0.02),
                    0.13,
                    0.13,
                    0.05,
                    "steel",
                    rotation=turn("x", 90),
                )
            )
    return parts


KINDS = (
    Kind("car", car, ("wheels",), has_front=True, synonyms=("automobile",)),
    Kind("truck", truck, ("wheels", "cab"), (SPOTS, STRIPES), has_front=True, synonyms=("lorry",)),
    Kind("bus", bus, ("wheels",), has_front=True, synonyms=("coach",)),
    Kind(
        "train",
        train,
        ("wheels", "chimney", "cab"),
        (STRIPES,),
        has_front=True,
        synonyms=("locomotive",),
    ),
    Kind("tank", tank, ("turret", "tracks", "gun"), has_front=True),
)
