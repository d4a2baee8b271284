"""Whether two objects are there as the prompt says: which, in what colors, and how they stand.

The classifier knows pictures of single objects. So the splats are cut in two by planes across each
axis, each part is brought to the size of an object, and its views are classified by themselves. Of
all planes, and both orders, the one counts whose two parts look most like the two kinds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from gs3d.core.cameras import ring
from gs3d.core.types import Splats
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.classifier import SIZE_PX, Classification, Classifier, resize
from gs3d.ops.clean import centered, drop_clear, fitted
from gs3d.ops.extent import box_of
from gs3d.raster import rasterize
from gs3d.world.captions import Meaning, Thing
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
    exchanged: float | None
    """Share of the views that are classified as the color of the other object; None if the two have
    one color."""
    relation: float | None
    """1 if the objects stand as the prompt says: the first part above a level plane for "on", the
    parts on both sides of an upright one for "next to"; else 0. None without both kinds: a lump can
    be cut in any direction."""


@dataclass(frozen=True)
class _Cut:
    """Two parts in the order of the prompt."""

    parts: tuple[Classification, Classification]
    stands: bool
    """Whether the plane lies as the prompt says."""


def two_objects(splats: Splats, meaning: Meaning, classifier: Classifier) -> TwoObjects:
    """Grade splats against the meaning of a prompt of two objects.

    If no plane has splats on both sides, nothing is right. Raises `ValueError` for a meaning of one
    object.
    """
    if meaning.other is None:
        raise ValueError(f"expected two objects, got {meaning.phrase()!r}")
    things = (meaning.thing, meaning.other)
    one_color = things[0].color == things[1].color

    def fit(cut: _Cut) -> tuple[float, float, bool]:
        """The kinds decide, then, where both are the same, the colors and how they stand."""
        kinds, colors = (
            sum(
                _log_probability(part, attribute, getattr(thing, attribute))
                for part, thing in zip(cut.parts, things, strict=True)
            )
            for attribute in ("kind", "color")
        )
        return kinds, colors, cut.stands

    best = max(_cuts(splats, meaning, classifier), key=fit, default=None)
    if best is None:
        return TwoObjects(0.0, 0.0, 0.0, None if one_color else 0.0, None)
    parts = best.parts

    def shares(attribute: str, of: Sequence[Thing]) -> list[float]:
        pairs = zip(parts, of, strict=True)
        return [_share(part, attribute, getattr(thing, attribute)) for part, thing in pairs]

    kinds = shares("kind", things)
    both = min(kinds) > 0.5
    return TwoObjects(
        kinds=sum(kinds) / 2,
        both_kinds=float(both),
        colors=sum(shares("color", things)) / 2,
        exchanged=None if one_color else sum(shares("color", things[::-1])) / 2,
        relation=float(best.stands) if both else None,
    )


def _cuts(splats: Splats, meaning: Meaning, classifier: Classifier) -> Iterator[_Cut]:
    """Both orders of the parts on the two sides of each plane."""
    for axis, below, above in _halves(drop_clear(splats, LEAST_OPACITY)):
        low, high = _seen(below, classifier), _seen(above, classifier)
        yield _Cut((low, high), axis != UP and meaning.relation != "on")
        yield _Cut((high, low), (axis == UP) == (meaning.relation == "on"))


def _halves(splats: Splats) -> Iterator[tuple[int, Splats, Splats]]:
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


def _log_probability(part: Classification, attribute: str, word: str) -> float:
    """Mean of the views."""
    return float(part.probability(attribute, word).clamp_min(LEAST_PROBABILITY).log().mean())


def _share(part: Classification, attribute: str, word: str) -> float:
    return part.words(attribute).count(word) / len(part)
