"""Furniture and household objects."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import CHECKER, SPOTS, STRIPES, Part, ball, box, cone, torus, turn


def chair(r: Rng) -> list[Part]:
    w, seat = r.uniform(0.36, 0.46), r.uniform(0.4, 0.52)
    back, leg = r.uniform(0.42, 0.58), r.uniform(0.045, 0.07)
    t = r.uniform(0.05, 0.075)
    parts = [
        box((0, 0, 0), (w, w, t), "main", rounding=0.02, patterned=True),
        box((-w + t, 0, back), (t, w, back), "main", rounding=0.02, patterned=True),
    ]
    parts += [
        box((x * (w - leg), y * (w - leg), -seat), (leg, leg, seat), "main", name="legs")
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    return parts


def table(r: Rng) -> list[Part]:
    high, leg, t = r.uniform(0.3, 0.42), r.uniform(0.05, 0.08), r.uniform(0.045, 0.07)
    w = r.uniform(0.5, 0.62)
    d = w * r.uniform(1.15, 1.5)
    parts = [box((0, 0, high), (w, d, t), "main", rounding=0.02, patterned=True)]
    for x in (-1, 1):
        parts += [
            box(
                (x * (w - 1.6 * leg), y * (d - 1.6 * leg), 0), (leg, leg, high), "main", name="legs"
            )
            for y in (-1, 1)
        ]
    return parts


def lamp(r: Rng) -> list[Part]:
    foot, pole = r.uniform(0.28, 0.36), r.uniform(0.45, 0.58)
    shade, h = r.uniform(0.38, 0.48), r.uniform(0.22, 0.3)
    return [
        cone((0, 0, -pole), foot, foot * 0.8, 0.05, "slate", name="base"),
        cone((0, 0, 0), 0.045, 0.045, pole, "steel", name="base"),
        cone(
            (0, 0, pole + h * 0.6), shade, shade * r.uniform(0.45, 0.6), h, "main", patterned=True
        ),
    ]


def bed(r: Rng) -> list[Part]:
    long, wide = r.uniform(0.75, 0.9), r.uniform(0.45, 0.55)
    thick, board = r.uniform(0.1, 0.14), r.uniform(0.2, 0.25)
    leg = 0.06
    parts = [
        box((0, 0, -thick), (long, wide, thick * 0.5), "wood", name="frame"),
        box(
            (-long, 0, board - 2 * thick), (0.05, wide, board), "wood", rounding=0.02, name="frame"
        ),
        box((0, 0, 0), (long * 0.97, wide * 0.97, thick), "cream", rounding=0.04),
        box(
            (long * 0.28, 0, 0.02),
            (long * 0.72, wide * 1.02, thick),
            "main",
            rounding=0.04,
            patterned=True,
        ),
        box(
            (-long * 0.72, 0, thick + 0.04),
            (0.16, wide * 0.62, 0.08),
            "cream",
            rounding=0.06,
            name="pillow",
        ),
    ]
    for x in (-1, 1):
        parts += [
            box(
                (x * (long - leg), y * (wide - leg), -2 * thick),
                (leg, leg, thick),
                "wood",
                name="frame",
            )
            for y in (-1, 1)
        ]
    return parts


def sofa(r: Rng) -> list[Part]:
    d, w = r.uniform(0.38, 0.44), r.uniform(0.68, 0.8)
    arm, back = r.uniform(0.15, 0.19), r.uniform(0.4, 0.46)
    seat = r.uniform(0.2, 0.25)
    parts = [
        box((0, 0, 0), (d, w, seat * 0.6), "main", rounding=0.04),
        box(
            (-d * 0.95, 0, back - seat * 0.4), (0.14, w, back), "main", rounding=0.1, patterned=True
        ),
    ]
    for s in (-1, 1):
        parts += [
            box(
                (0.03, s * w, seat * 0.55),
                (d + 0.08, arm, seat * 1.15),
                "main",
                rounding=0.1,
                patterned=True,
            ),
            box(
                (0.06, s * (w - arm) * 0.5, seat * 0.85),
                (d * 0.95, (w - arm) * 0.5 + 0.02, 0.11),
                "main",
                rounding=0.05,
                name="cushions",
            ),
        ]
        parts += [
            box(
                (x * d * 0.85, s * w * 0.95, -seat * 0.6 - 0.06),
                (0.07, 0.07, 0.08),
                "wood",
                name="legs",
            )
            for x in (-1, 1)
        ]
    return parts


def bookshelf(r: Rng) -> list[Part]:
    d, w, gap = r.uniform(0.26, 0.3), r.uniform(0.44, 0.5), r.uniform(0.26, 0.3)
    t = r.uniform(0.05, 0.055)
    parts = [box((0, s * w, 0), (d * 0.62, t * 1.2, 3 * gap + t), "main") for s in (-1, 1)]
    # Shelves and books extend beyond the side walls, so that they are visible from the sides too.
    parts += [
        box((0, 0, 2 * gap * k), (d, w + 1.7 * t, t), "main", name="shelves")
        for k in (-1.5, -0.5, 0.5, 1.5)
    ]
    # The bookshelf has no back wall, so the books are visible from the front and the back. They
    # touch a side wall or each other, because thin gaps do not give a usable surface.
    rows = ("sky", "cherry", "flame"), ("cream", "sky"), ("flame", "cherry", "slate")
    for k, row in zip((-1, 0, 1), rows, strict=True):
        thick = w * r.uniform(0.23, 0.26) * (1 if k else 1.3)
        for y, paint in zip((w - thick, thick - w, 3 * thick - w - 0.02), row, strict=False):
            high = (gap - t) * r.uniform(0.68, 0.86)
            at = (0, y if k else -y, 2 * gap * k - gap + t + high - 0.01)
            parts.append(box(at, (d * 0.96, thick, high), paint, name="books"))
    return parts


def television(r: Rng) -> list[Part]:
    d, w = r.uniform(0.3, 0.36), r.uniform(0.6, 0.68)
    h, leg = r.uniform(0.44, 0.5), r.uniform(0.12, 0.16)
    rod = r.uniform(0.26, 0.32)
    parts = [
        box((0, 0, 0), (d, w, h), "main", rounding=0.08),
        box((-d, 0, -0.02), (0.16, w * 0.66, h * 0.66), "slate", rounding=0.06),
        box((d, -w * 0.2, 0), (0.04, w * 0.62, h * 0.72), "dark", rounding=0.03, name="screen"),
        box(
            (d + 0.03, -w * 0.2, 0), (0.03, w * 0.54, h * 0.62), "sky", rounding=0.02, name="screen"
        ),
    ]
    for s in (-1, 1):
        parts += [
            ball((d, w * 0.7, h * 0.3 + s * 0.13), 0.085, "steel"),
            cone(
                (0, s * rod * 0.55, h + rod * 0.7),
                0.045,
                0.035,
                rod,
                "steel",
                rotation=turn("x", -s * 38),
                name="antenna",
            ),
            ball((0, s * (rod * 1.17), h + rod * 1.49), 0.075, "cherry", name="antenna"),
        ]
        parts += [
            cone((x * d * 0.7, s * w * 0.7, -h - leg * 0.8), 0.05, 0.075, leg, "wood", name="legs")
            for x in (-1, 1)
        ]
    return parts


def stool(r: Rng) -> list[Part]:
    wide, leg = r.uniform(0.4, 0.46), r.uniform(0.055, 0.07)
    high, t = r.uniform(0.46, 0.56), r.uniform(0.11, 0.14)
    at = wide * 0.62
    parts = [
        cone((0, 0, high), wide, wide, t, "main", rounding=0.05, patterned=True),
        torus((0, 0, -high * 0.35), at * 1.41, 0.05, "main", name="legs"),
    ]
    parts += [
        cone((x * at, y * at, 0), leg, leg, high, "main", name="legs")
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    return parts


KINDS = (
    Kind("chair", chair, ("legs",), (SPOTS, STRIPES), has_front=True),
    Kind("table", table, ("legs",), (SPOTS, CHECKER), carries=True),
    Kind("lamp", lamp, ("base",), (SPOTS, STRIPES, CHECKER), small=True),
    Kind("bed", bed, ("frame", "pillow"), (SPOTS, STRIPES, CHECKER), has_front=True),
    Kind(
        "sofa",
        sofa,
        ("cushions", "legs"),
        (SPOTS, STRIPES, CHECKER),
        has_front=True,
        synonyms=("couch",),
    ),
    Kind("bookshelf", bookshelf, ("shelves", "books"), synonyms=("bookcase",)),
    Kind(
        "television",
        television,
        ("antenna", "legs", "screen"),
        has_front=True,
        synonyms=("tv",),
        small=True,
    ),
    Kind("stool", stool, ("legs",), (SPOTS,)),
)
