"""Things in a room."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import CHECKER, SPOTS, STRIPES, Part, box, cone


def chair(r: Rng) -> list[Part]:
    w, seat, back, leg = r.uniform(0.36, 0.46), r.uniform(0.4, 0.52), r.uniform(0.42, 0.58), r.uniform(0.045, 0.07)
    t = r.uniform(0.05, 0.075)
    parts = [
        box((0, 0, 0), (w, w, t), "main", rounding=0.02, patterned=True),
        box((-w + t, 0, back), (t, w, back), "main", rounding=0.02, patterned=True),
    ]
    parts += [box((x * (w - leg), y * (w - leg), -seat), (leg, leg, seat), "main", name="legs") for x in (-1, 1) for y in (-1, 1)]
    return parts


def table(r: Rng) -> list[Part]:
    high, leg, t = r.uniform(0.3, 0.42), r.uniform(0.05, 0.08), r.uniform(0.045, 0.07)
    w = r.uniform(0.5, 0.62)
    d = w * r.uniform(1.15, 1.5)
    parts = [box((0, 0, high), (w, d, t), "main", rounding=0.02, patterned=True)]
    for x in (-1, 1):
        parts += [box((x * (w - 1.6 * leg), y * (d - 1.6 * leg), 0), (leg, leg, high), "main", name="legs") for y in (-1, 1)]
    return parts


def lamp(r: Rng) -> list[Part]:
    foot, pole, shade, h = r.uniform(0.28, 0.36), r.uniform(0.45, 0.58), r.uniform(0.38, 0.48), r.uniform(0.22, 0.3)
    return [
        cone((0, 0, -pole), foot, foot * 0.8, 0.05, "slate", name="base"),
        cone((0, 0, 0), 0.045, 0.045, pole, "steel", name="base"),
        cone((0, 0, pole + h * 0.6), shade, shade * r.uniform(0.45, 0.6), h, "main", patterned=True),
    ]


def bed(r: Rng) -> list[Part]:
    long, wide, thick, board = r.uniform(0.75, 0.9), r.uniform(0.45, 0.55), r.uniform(0.1, 0.14), r.uniform(0.2, 0.25)
    leg = 0.06
    parts = [
        box((0, 0, -thick), (long, wide, thick * 0.5), "wood", name="frame"),
        box((-long, 0, board - 2 * thick), (0.05, wide, board), "wood", rounding=0.02, name="frame"),
        box((0, 0, 0), (long * 0.97, wide * 0.97, thick), "cream", rounding=0.04),
        box((long * 0.28, 0, 0.02), (long * 0.72, wide * 1.02, thick), "main", rounding=0.04, patterned=True),
        box((-long * 0.72, 0, thick + 0.04), (0.16, wide * 0.62, 0.08), "cream", rounding=0.06, name="pillow"),
    ]
    for x in (-1, 1):
        parts += [box((x * (long - leg), y * (wide - leg), -2 * thick), (leg, leg, thick), "wood", name="frame") for y in (-1, 1)]
    return parts


KINDS = (
    Kind("chair", chair, ("legs",), (SPOTS, STRIPES), has_front=True),
    Kind("table", table, ("legs",), (SPOTS, CHECKER), carries=True),
    Kind("lamp", lamp, ("base",), (SPOTS, STRIPES, CHECKER), small=True),
    Kind("bed", bed, ("frame", "pillow"), (SPOTS, STRIPES, CHECKER), has_front=True),
)
