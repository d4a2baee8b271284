"""Things that move people."""

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
    torus,
    toward,
    turn,
)


def car(r: Rng) -> list[Part]:
    length, width, low, up = (
        r.uniform(0.8, 0.95),
        r.uniform(0.36, 0.44),
        r.uniform(0.14, 0.19),
        r.uniform(0.13, 0.18),
    )
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


def rocket(r: Rng) -> list[Part]:
    body, h, nose = r.uniform(0.22, 0.28), r.uniform(0.5, 0.62), r.uniform(0.2, 0.28)
    fin = r.uniform(0.2, 0.27)
    parts = [
        cone((0, 0, 0), body * 0.9, body, h, "main", patterned=True),
        cone((0, 0, h + nose), body, 0.02, nose, "steel", name="nose"),
        cone((0, 0, -h - 0.07), body * 0.75, body * 0.5, 0.08, "dark"),
        ball((body * 0.93, 0, h * 0.45), (0.06, 0.12, 0.12), "sky"),
    ]
    for k in range(4):
        at = (*toward(45 + 90 * k, body + fin * 0.45), -h * 0.8)
        parts.append(
            box(at, (fin * 0.6, 0.03, 0.2), "steel", rotation=turn("z", 45 + 90 * k), name="fins")
        )
    return parts


def boat(r: Rng) -> list[Part]:
    long, wide, deep = r.uniform(0.72, 0.85), r.uniform(0.28, 0.34), r.uniform(0.2, 0.26)
    mast, sail = r.uniform(0.5, 0.6), r.uniform(0.48, 0.58)
    at = (long * 0.1 + sail * 0.5, 0, deep + 0.1 + mast * 0.8)
    return [
        ball((0, 0, 0), (long, wide, deep), "main", patterned=True),
        box(
            (-long * 0.42, 0, deep * 0.9),
            (long * 0.24, wide * 0.6, deep * 0.5),
            "cream",
            rounding=0.03,
            name="cabin",
        ),
        cone((long * 0.1, 0, deep + mast), 0.035, 0.03, mast, "wood"),
        # A gable lies along x; turned a quarter it is a flat triangle that is seen from the side.
        gable(at, (0.02, sail * 0.5, mast * 0.75), "snow", rotation=turn("z", 90), name="sail"),
    ]


def plane(r: Rng) -> list[Part]:
    long, body, span, chord = (
        r.uniform(0.78, 0.9),
        r.uniform(0.15, 0.19),
        r.uniform(0.75, 0.9),
        r.uniform(0.15, 0.2),
    )
    fin = r.uniform(0.17, 0.22)
    return [
        ball((0, 0, 0), (long, body, body), "main", patterned=True),
        box((0.1, 0, -0.02), (chord, span, 0.035), "main", rounding=0.02, name="wings"),
        box(
            (-long * 0.84, 0, 0.03), (0.09, span * 0.38, 0.03), "main", rounding=0.02, name="wings"
        ),
        box((-long * 0.86, 0, fin), (0.1, 0.03, fin), "main", rounding=0.02, name="tail"),
        ball((long * 0.45, 0, body * 0.72), (0.17, 0.1, 0.09), "sky"),
        box((long + 0.02, 0, 0), (0.02, 0.04, 0.24), "dark"),
        ball((long, 0, 0), 0.06, "dark"),
    ]


def truck(r: Rng) -> list[Part]:
    cargo, wide, high, cab = (
        r.uniform(0.44, 0.52),
        r.uniform(0.36, 0.42),
        r.uniform(0.34, 0.4),
        r.uniform(0.19, 0.23),
    )
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
    long, wide, high, wheel = (
        r.uniform(0.74, 0.84),
        r.uniform(0.32, 0.37),
        r.uniform(0.36, 0.42),
        r.uniform(0.17, 0.2),
    )
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
    long, boiler, wheel, cab = (
        r.uniform(0.44, 0.5),
        r.uniform(0.24, 0.28),
        r.uniform(0.18, 0.21),
        r.uniform(0.2, 0.24),
    )
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
    # Each a pair on its axle: what joins them is hidden.
    for x in (back, back + 2.2 * wheel, back + 4.4 * wheel):
        parts.append(
            cone((x, 0, 0.04), wheel, wheel, wide, "slate", rotation=turn("x", 90), name="wheels")
        )
    return parts


def helicopter(r: Rng) -> list[Part]:
    long, body, boom, blade = (
        r.uniform(0.46, 0.52),
        r.uniform(0.36, 0.4),
        r.uniform(0.28, 0.34),
        r.uniform(0.66, 0.74),
    )
    end, tilt = -long * 0.7 - 2 * boom, r.uniform(35, 55)
    parts = [
        ball((0, 0, 0), (long, body, body), "main", patterned=True),
        ball((long * 0.5, 0, body * 0.3), (long * 0.52, body * 0.72, body * 0.6), "sky"),
        cone(
            (-long * 0.7 - boom, 0, body * 0.25),
            0.1,
            0.23,
            boom,
            "main",
            rotation=turn("y", 90),
            name="tail",
        ),
        box((end, 0, body * 0.25 + 0.15), (0.13, 0.05, 0.25), "main", rounding=0.03, name="tail"),
        torus((end, 0.06, body * 0.25 + 0.05), 0.12, 0.045, "dark", rotation=turn("x", 90)),
        cone((0, 0, body + 0.1), 0.07, 0.06, 0.14, "dark"),
        ball((0, 0, body + 0.24), (0.11, 0.11, 0.08), "dark", name="rotor"),
    ]
    parts += [
        box(
            (0, 0, body + 0.24),
            (blade, 0.065, 0.035),
            "dark",
            rotation=turn("z", tilt + a),
            name="rotor",
        )
        for a in (0, 90)
    ]
    for s in (-1, 1):
        parts.append(
            box(
                (0.03, s * body * 0.85, -body - 0.1),
                (long * 1.05, 0.055, 0.05),
                "slate",
                rounding=0.04,
                name="skids",
            )
        )
        parts.append(
            box(
                (0.03, s * body * 0.65, -body * 0.85),
                (0.07, 0.05, 0.2),
                "slate",
                rotation=turn("x", s * 25),
                name="skids",
            )
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


def submarine(r: Rng) -> list[Part]:
    long, body, tower = r.uniform(0.72, 0.8), r.uniform(0.33, 0.38), r.uniform(0.2, 0.24)
    scope, at = r.uniform(0.16, 0.2), r.uniform(0.0, 0.1)
    z = body * 0.9 + tower * 0.85
    top = z + tower + scope * 1.7
    parts = [
        ball((0, 0, 0), (long, body, body), "main", patterned=True),
        box((at, 0, z), (tower * 1.15, tower * 0.62, tower), "main", rounding=0.08, name="tower"),
        cone((at, 0, z + tower + scope * 0.8), 0.06, 0.06, scope, "steel", name="periscope"),
        box((at + 0.07, 0, top), (0.15, 0.07, 0.065), "steel", rounding=0.02, name="periscope"),
        box((-long * 0.83, 0, 0), (0.1, 0.42, 0.05), "main", rounding=0.02, name="fins"),
        box((-long * 0.83, 0, 0), (0.1, 0.05, 0.4), "main", rounding=0.02, name="fins"),
        cone((-long, 0, 0), 0.06, 0.06, 0.09, "dark", rotation=turn("y", 90)),
        box((-long - 0.06, 0, 0), (0.035, 0.2, 0.06), "flame", rotation=turn("x", 45)),
        box((-long - 0.06, 0, 0), (0.035, 0.2, 0.06), "flame", rotation=turn("x", -45)),
        ball((long * 0.9, 0, body * 0.1), (0.12, 0.15, 0.13), "sky"),
    ]
    parts += [
        cone((long * x, 0, body * 0.18), 0.085, 0.085, body * w, "sky", rotation=turn("x", 90))
        for x, w in _PORTHOLES
    ]
    return parts


_PORTHOLES = ((-0.36, 0.95), (0.0, 1.01), (0.36, 0.95))
"""How far along a submarine they are, and how far out they reach."""


def balloon(r: Rng) -> list[Part]:
    radius, low, basket = r.uniform(0.54, 0.6), r.uniform(0.18, 0.22), r.uniform(0.18, 0.21)
    # The skirt leaves the ball where their slopes agree.
    skirt = -radius * 0.64 - low
    floor = skirt - low - 0.34 - basket
    parts = [
        ball((0, 0, 0), radius, "main", patterned=True),
        cone((0, 0, skirt), 0.24, radius * 0.77, low, "main"),
        torus((0, 0, skirt + low), radius * 0.73, 0.06, "cream"),
        box((0, 0, floor), (basket, basket, basket * 0.85), "wood", rounding=0.03, name="basket"),
    ]
    for x in (-1, 1):
        parts += [
            cone(
                (x * basket * 0.85, y * basket * 0.85, floor + basket + 0.15),
                0.03,
                0.03,
                0.22,
                "wood",
            )
            for y in (-1, 1)
        ]
    return parts


KINDS = (
    Kind("car", car, ("wheels",), has_front=True, synonyms=("automobile",)),
    Kind("rocket", rocket, ("fins", "nose"), (STRIPES,), has_front=True, synonyms=("spaceship",)),
    Kind("boat", boat, ("sail", "cabin"), (STRIPES,), has_front=True, synonyms=("ship",)),
    Kind("plane", plane, ("wings", "tail"), (SPOTS,), has_front=True, synonyms=("airplane",)),
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
    Kind(
        "helicopter",
        helicopter,
        ("rotor", "tail", "skids"),
        (SPOTS,),
        has_front=True,
        synonyms=("chopper",),
    ),
    Kind("tank", tank, ("turret", "tracks", "gun"), has_front=True),
    Kind(
        "submarine",
        submarine,
        ("tower", "periscope", "fins"),
        (SPOTS, STRIPES),
        has_front=True,
        synonyms=("sub",),
    ),
    Kind("balloon", balloon, ("basket",), (SPOTS, STRIPES, CHECKER), synonyms=("hot air balloon",)),
)
