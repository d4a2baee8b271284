"""Vehicles for water, air and space."""

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

_PORTHOLES = ((-0.36, 0.95), (0.0, 1.01), (0.36, 0.95))
"""Portholes of a submarine: position along the hull and half-width across it.

The units are the half-length and the radius of the hull.
"""


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
        # A gable extends along x. Rotated by 90°, it is a flat triangle visible from the side.
        gable(at, (0.02, sail * 0.5, mast * 0.75), "snow", rotation=turn("z", 90), name="sail"),
    ]


def plane(r: Rng) -> list[Part]:
    long, body = r.uniform(0.78, 0.9), r.uniform(0.15, 0.19)
    span, chord = r.uniform(0.75, 0.9), r.uniform(0.15, 0.2)
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


def helicopter(r: Rng) -> list[Part]:
    long, body = r.uniform(0.46, 0.52), r.uniform(0.36, 0.4)
    boom, blade = r.uniform(0.28, 0.34), r.uniform(0.66, 0.74)
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


def balloon(r: Rng) -> list[Part]:
    radius, low, basket = r.uniform(0.54, 0.6), r.uniform(0.18, 0.22), r.uniform(0.18, 0.21)
    # The skirt meets the ball where their slopes are equal.
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
    Kind("rocket", rocket, ("fins", "nose"), (STRIPES,), has_front=True, synonyms=("spaceship",)),
    Kind("boat", boat, ("sail", "cabin"), (STRIPES,), has_front=True, synonyms=("ship",)),
    Kind("plane", plane, ("wings", "tail"), (SPOTS,), has_front=True, synonyms=("airplane",)),
    Kind(
        "helicopter",
        helicopter,
        ("rotor", "tail", "skids"),
        (SPOTS,),
        has_front=True,
        synonyms=("chopper",),
    ),
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
