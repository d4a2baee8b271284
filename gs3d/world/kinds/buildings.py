"""Things to live in."""

from gs3d.world.kinds.base import Kind, Rng
from gs3d.world.parts import CHECKER, STRIPES, Part, box, cone, gable


def house(r: Rng) -> list[Part]:
    d, w, h, roof = r.uniform(0.45, 0.6), r.uniform(0.5, 0.62), r.uniform(0.32, 0.45), r.uniform(0.2, 0.3)
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
    half, h, tower, up = r.uniform(0.42, 0.52), r.uniform(0.24, 0.32), r.uniform(0.14, 0.18), r.uniform(0.4, 0.5)
    roof, gate = r.uniform(0.14, 0.2), r.uniform(0.12, 0.16)
    parts = [
        box((0, 0, 0), (half, half, h), "main", patterned=True),
        box((half, 0, -h + 1.4 * gate), (0.03, gate, 1.4 * gate), "wood", name="gate"),
    ]
    for x in (-1, 1):
        for y in (-1, 1):
            parts.append(cone((x * half, y * half, up - h), tower, tower, up, "main", patterned=True))
            parts.append(cone((x * half, y * half, 2 * up - h + roof), tower * 1.25, 0.01, roof, "brick", name="roofs"))
    return parts


KINDS = (
    Kind("house", house, ("roof", "door"), has_front=True, synonyms=("cottage",)),
    # Its gate is too small a difference for a front.
    Kind("castle", castle, ("roofs", "gate"), (STRIPES, CHECKER), synonyms=("fortress",)),
)
