"""Marks for splats that should be what a prompt of the world says: are they that, with one face, clean, of the right shape?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras, ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.classifier import PLAIN, SIZE_PX, Classification, Classifier, resize
from gs3d.evaluation.metrics.appearance import appearance_of
from gs3d.evaluation.metrics.geometry import nearest, surface_of_asset
from gs3d.evaluation.metrics.residue import SEEN, SOLID, clipped_of, floaters_of, residue_of
from gs3d.evaluation.reference import Reference, around
from gs3d.representations.asset import Asset, draw
from gs3d.world.captions import Meaning
from gs3d.world.kinds import KINDS

VIEWS, ELEVATION_DEG = 8, 15.0
BEHIND = slice(5, 8)
"""Of twelve pictures all round, those that Janus is marked on: 150°, 180° and 210°, well within what is called "back". At 135° and 225°,
where "side" begins, the classifier gives neither "front" nor "back" any weight, and which of two nothings is the larger says nothing."""
DRAWN_PX = (
    2 * SIZE_PX
)  # drawn at twice the size and averaged, as the world's pictures have four rays a pixel


@dataclass(frozen=True)
class Grade:
    """Marks over the eight views, but where another is named; shares are in [0, 1]. None where there is no answer."""

    kind_right: float | None
    """Share of views named as the right kind; None for two things, of which either would be right."""
    color_right: float | None
    """Share of views named as the right color."""
    pattern_right: float | None
    """Share of views named as the right pattern, "plain" among them."""
    kind_probability: float | None
    """Mean probability of the right kind."""
    color_probability: float | None
    """Mean probability of the right color."""
    agreement: float | None
    """Share of views named as the kind that most views are named as, right or wrong: whether they show one thing. Of one thing only."""
    janus: float | None
    """Share of three pictures from behind (`BEHIND`) that look more like the front than like the back; None for a kind without a
    front. 0.02 of true objects, 0.9 of the same with two fronts (weights/classifier.json, "two_faced")."""
    empty: float
    """Share of views without a solid pixel: what cannot be marked for haze, shape or look would else only be missing from their means."""
    residue: float | None
    """`residue.residue_of`; None where nothing is seen at all."""
    floaters: float | None
    """`clean.floaters_of`; None for a mesh, whose export leaves out what floats."""
    coverage: float
    """Mean alpha of the pictures."""
    clipped: float
    """`clean.clipped_of`"""
    saturation_bias: float | None
    """How much more saturated than true objects of the same words, [−1, 1]; None without any, or where nothing is solid."""
    brightness_bias: float | None
    chamfer: float | None
    """`surface.Distance`, to the nearest of the true objects; None without any, or where nothing is solid."""
    normal_deg: float | None
    kinds: tuple[str, ...]
    """The kind that each view was named as, azimuth 0°, 45°, …"""
    colors: tuple[str, ...]
    views: tuple[str, ...]
    r_precision: float | None = None
    """`clip.ClipMarks`; None without a CLIP model."""
    clip_similarity: float | None = None


@torch.no_grad()
def views_of(asset: Asset, size_px: int = DRAWN_PX) -> tuple[Tensor, Tensor]:
    """The views that are graded: pictures [8, H, W, 3] in [0, 1] over light gray, and alpha [8, H, W], on the CPU."""
    return _pictures(asset, ring(VIEWS, size_px, ELEVATION_DEG))


@torch.no_grad()
def janus_of(asset: Asset, kind: str, classifier: Classifier) -> float | None:
    """See `Grade.janus`. Front is weighed against back alone: a side that is seen by mistake is no second face."""
    if not KINDS[kind].has_front:
        return None
    seen = classifier.classify(
        resize(_pictures(asset, ring(12, DRAWN_PX, ELEVATION_DEG)[BEHIND])[0])
    )
    return (
        (seen.probability("view", "front") > seen.probability("view", "back")).float().mean().item()
    )


def _pictures(asset: Asset, cameras: Cameras) -> tuple[Tensor, Tensor]:
    out = draw(asset, cameras, (LIGHT_GRAY,) * 3)
    return out.rgb.clamp(0, 1).cpu(), out.alpha[..., 0].cpu()


def check_words(meaning: Meaning, classifier: Classifier) -> None:
    """`UserError` for a kind, color or pattern that the classifier does not know."""
    for question in ("kind", "color", "pattern"):
        word, known = getattr(meaning.thing, question) or PLAIN, classifier.answers[question]
        if meaning.other is None and word not in known:
            raise UserError(
                f"{question} {word!r}: not one that can be graded; expected one of {', '.join(known)}"
            )


@torch.no_grad()
def grade(
    asset: Asset,
    meaning: Meaning | None,
    classifier: Classifier,
    reference: Reference | None = None,
) -> Grade:
    """Judge what a run has made, which should be what `meaning` says, from 8 azimuths at 15° elevation and from behind, and from 16 sides
    against `truth`.

    Without a meaning, only what does not depend on one is marked. Raises `UserError` for a kind or color that the classifier does not
    know, `ValueError` for splats that cannot be drawn.
    """
    pictures, alpha = views_of(asset)
    appearance = appearance_of(pictures, alpha)
    apart = (
        nearest(surface_of_asset(asset, around(DRAWN_PX)), reference.surfaces)
        if reference
        else None
    )
    return Grade(
        **_classified(classifier.classify(resize(pictures)), meaning, classifier),
        janus=janus_of(asset, meaning.thing.kind, classifier)
        if meaning and meaning.other is None
        else None,
        empty=(alpha < SOLID).flatten(1).all(1).float().mean().item(),
        residue=residue_of(alpha) if (alpha > SEEN).any() else None,
        floaters=floaters_of(asset, alpha, ring(VIEWS, DRAWN_PX, ELEVATION_DEG))
        if isinstance(asset, Splats)
        else None,
        coverage=alpha.mean().item(),
        clipped=clipped_of(alpha),
        saturation_bias=appearance.saturation - reference.appearance.saturation
        if reference and appearance
        else None,
        brightness_bias=appearance.brightness - reference.appearance.brightness
        if reference and appearance
        else None,
        chamfer=apart.chamfer if apart else None,
        normal_deg=apart.normal_deg if apart else None,
    )


def _classified(
    classification: Classification, meaning: Meaning | None, classifier: Classifier
) -> dict:
    """The marks that the classifier gives."""
    marks = dict.fromkeys(
        (
            "kind_right",
            "color_right",
            "pattern_right",
            "kind_probability",
            "color_probability",
            "agreement",
        )
    )
    if meaning is None:
        return marks | {"kinds": (), "colors": (), "views": ()}
    check_words(meaning, classifier)
    thing, named = (
        meaning.thing,
        {
            question: classification.words(question)
            for question in ("kind", "color", "pattern", "view")
        },
    )
    if meaning.other is None:
        marks["agreement"] = max(map(named["kind"].count, named["kind"])) / VIEWS
        for question, word in (
            ("kind", thing.kind),
            ("color", thing.color),
            ("pattern", thing.pattern or PLAIN),
        ):
            marks[f"{question}_right"] = named[question].count(word) / VIEWS
        for question, word in (("kind", thing.kind), ("color", thing.color)):
            marks[f"{question}_probability"] = (
                classification.probability(question, word).mean().item()
            )
    return marks | {
        "kinds": tuple(named["kind"]),
        "colors": tuple(named["color"]),
        "views": tuple(named["view"]),
    }
