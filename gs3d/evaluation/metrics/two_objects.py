"""Whether two objects are there as the prompt says: which, in what colors, and how they stand.

The classifier knows pictures of single objects. So the splats are cut in two by planes across each
axis, each part is brought to the size of an object, and its views are classified by themselves. Of
all planes, and both orders, the one counts whose two parts look most like the two kinds.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gs3d.core.cameras import ring
from gs3d.core.types import Splats
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.classifier import SIZE_PX, Classification, Classifier, resize
from gs3d.ops.clean import centered, drop_clear, fitted
from gs3d.ops.extent import box_of
from gs3d.raster import rasterize
from gs3d.world.captions import Meaning
from gs3d.world.sample import RADIUS

VIEWS, ELEVATION_DEG = 8, 15.0
PLANES = torch.linspace(0.2, 0.8, 13).tolist()
"""Where an axis is cut, in shares of the extent along it."""
UP = 2
"""The axis that points up."""
LEAST_OPACITY = 0.1
"""Splats below it are haze about the objects, and would count as part of their extent."""
LEAST_SPLATS = 20
"""Of fewer on one side of a plane, that side is empty."""
LEAST_PROBABILITY = 1e-4
"""One view that is sure of another kind does not decide between two planes."""


@dataclass(frozen=True)
class TwoObjects:
    """Metrics of the two parts of an asset; shares are in [0, 1]."""

    kinds: float
    """Share of the views of the two parts, 16 in all, that are classified as the right kind."""
    both_kinds: float
    """1 if most views of each part are, else 0."""
    colors: float
    """Share of the views that are classified as the right color."""
    exchanged: float
    """Share of the views that are classified as the color of the other object."""
    relation: float
    """1 if the objects stand as the prompt says: the first part above a level plane for "on", the
    parts on both sides of an upright one for "next to"; else 0."""


ABSENT = TwoObjects(0.0, 0.0, 0.0, 0.0, 0.0)


def two_objects(splats: Splats, meaning: Meaning, classifier: Classifier) -> TwoObjects:
    """Grade splats against the meaning of a prompt of two objects.

    All metrics are 0 if no plane has splats on both sides. Raises `ValueError` for a meaning of one
    object.
    """
    if meaning.other is None:
        raise ValueError(f"expected two objects, got {meaning.phrase()!r}")
    things = (meaning.thing, meaning.other)
    best, best_fit = ABSENT, -float("inf")
    for axis, below, above in _cuts(drop_clear(splats, LEAST_OPACITY)):
        low, high = _seen(below, classifier), _seen(above, classifier)
        for parts in ((low, high), (high, low)):
            fit = sum(_fit(p, t.kind) for p, t in zip(parts, things, strict=True))
            if fit > best_fit:
                on = axis == UP and parts[0] is high
                stands = on if meaning.relation == "on" else axis != UP
                kinds = [_share(p, "kind", t.kind) for p, t in zip(parts, things, strict=True)]
                colors, others = (
                    [_share(p, "color", t.color) for p, t in zip(parts, of, strict=True)]
                    for of in (things, things[::-1])
                )
                best_fit = fit
                best = TwoObjects(
                    sum(kinds) / 2,
                    float(min(kinds) > 0.5),
                    sum(colors) / 2,
                    sum(others) / 2,
                    float(stands),
                )
    return best


def _cuts(splats: Splats) -> Iterator[tuple[int, Splats, Splats]]:
    """The axis of each plane, and the splats below and above it."""
    if len(splats) < 2 * LEAST_SPLATS:
        return
    low, high = box_of(splats.means)
    for axis in range(3):
        for share in PLANES:
            above = splats.means[:, axis] > low[axis] + share * (high[axis] - low[axis])
            if LEAST_SPLATS <= int(above.sum()) <= len(splats) - LEAST_SPLATS:
                yield axis, splats[~above], splats[above]


@torch.no_grad()
def _seen(part: Splats, classifier: Classifier) -> Classification:
    cameras = ring(VIEWS, 2 * SIZE_PX, ELEVATION_DEG)
    background = torch.full((3,), LIGHT_GRAY)
    images = rasterize(fitted(centered(part), RADIUS), cameras, background).rgb.clamp(0, 1)
    return classifier.classify(resize(images))


def _fit(part: Classification, kind: str) -> float:
    """Mean logarithm of the probability of a kind."""
    return float(part.probability("kind", kind).clamp_min(LEAST_PROBABILITY).log().mean())


def _share(part: Classification, attribute: str, word: str) -> float:
    return part.words(attribute).count(word) / len(part)
