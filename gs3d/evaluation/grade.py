"""Grading of an asset: do its renders match the prompt, with one front, no residue, right shape?"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras, ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.augment import LIGHT_GRAY
from gs3d.evaluation.classifier import PLAIN, SIZE_PX, Classification, Classifier, resize
from gs3d.evaluation.metrics.appearance import appearance_of
from gs3d.evaluation.metrics.detail import detail_of
from gs3d.evaluation.metrics.geometry import Surface, nearest, surface_of_asset
from gs3d.evaluation.metrics.parts import color_shares, minor_color_recall, small_part_recall
from gs3d.evaluation.metrics.residue import (
    SOLID_ALPHA,
    VISIBLE_ALPHA,
    clipped_of,
    floaters_of,
    residue_of,
)
from gs3d.evaluation.metrics.two_objects import two_objects
from gs3d.evaluation.reference import Reference, around
from gs3d.representations.asset import Asset, draw
from gs3d.world.captions import Meaning
from gs3d.world.kinds import KINDS

VIEWS, ELEVATION_DEG = 8, 15.0
BACK_VIEWS = slice(5, 8)
"""Of twelve views all around, the three of the Janus metric: azimuths 150°, 180° and 210°, well
inside the range called "back". At 135° and 225°, where "side" begins, the classifier gives both
"front" and "back" near-zero probability, and comparing the two would be meaningless."""
LEAST_DETAIL = 3 / 255
"""Least amplitude of the high frequencies of a reference for `Grade.fine_detail`: a plain ball has
none, and anything would be much beside it."""
RENDER_PX = 2 * SIZE_PX
"""Side of the graded renders. They are averaged down to half the size, because the world renders
that the classifier was trained on have four rays per pixel."""


@dataclass(frozen=True)
class Grade:
    """Metrics of one asset, over eight views unless noted.

    Shares are in [0, 1]. None means not applicable.
    """

    kind_right: float | None
    """Share of views classified as the right kind; of two objects, views of each by itself
    (`metrics.two_objects`), or None for a mesh of two."""
    color_right: float | None
    """Share of views classified as the right color, likewise."""
    pattern_right: float | None
    """Share of views classified as the right pattern; "plain" counts as a pattern."""
    kind_probability: float | None
    """Mean probability of the right kind."""
    color_probability: float | None
    """Mean probability of the right color."""
    agreement: float | None
    """Share of views classified as the most frequent kind, right or wrong. Low values mean that
    the views show different objects. None for two objects."""
    janus: float | None
    """Share of the three back views (`BACK_VIEWS`) that look more like a front than like a back;
    None for a kind without a front. It is 0.02 for reference objects and 0.9 for the same objects
    with two fronts (weights/classifier.json, "two_faced")."""
    empty: float
    """Share of views without a solid pixel. Residue, shape and appearance are undefined for an
    empty asset, so without this metric it would merely drop out of their means."""
    residue: float | None
    """See `metrics.residue.residue_of`; None if no pixel is visible."""
    floaters: float | None
    """See `metrics.residue.floaters_of`; None for a mesh, whose export removes floaters."""
    coverage: float
    """Mean alpha of the renders."""
    clipped: float
    """See `metrics.residue.clipped_of`."""
    saturation_bias: float | None
    """Saturation minus that of the reference, in [−1, 1]; None without a reference or if no pixel
    is opaque."""
    brightness_bias: float | None
    """Brightness minus that of the reference, likewise."""
    chamfer: float | None
    """Chamfer distance (`metrics.geometry.Distance`) to the nearest reference object; None without
    a reference or if no pixel is solid."""
    normal_deg: float | None
    """Mean angle between normals for the same pair, in degrees."""
    fine_detail: float | None
    """Amplitude of the high frequencies inside the object, without grain, relative to the
    reference: √ of the ratio of `metrics.detail.Detail.energy`. None if the reference has less than
    `LEAST_DETAIL`; like the next five, None without a reference or where nothing qualifies."""
    grain: float | None
    """`Detail.grain` minus that of the reference, in [−1, 1]."""
    edge_sharpness: float | None
    """`Detail.sharpness` relative to the reference."""
    rim_width: float | None
    """`Detail.rim` relative to the reference."""
    minor_colors: float | None
    """See `metrics.parts.minor_color_recall`."""
    small_parts: float | None
    """See `metrics.parts.small_part_recall`."""
    kinds: tuple[str, ...]
    """Classified kind of each view, at azimuth 0°, 45°, …"""
    colors: tuple[str, ...]
    """Classified color of each view."""
    views: tuple[str, ...]
    """Classified direction of each view."""
    both_kinds: float | None = None
    """See `metrics.two_objects.TwoObjects`, like the next two; None for one object."""
    exchanged_colors: float | None = None
    relation_right: float | None = None
    r_precision: float | None = None
    """See `clip.ClipMetrics`; None without a CLIP model."""
    clip_similarity: float | None = None
    """See `clip.ClipMetrics`; None without a CLIP model."""


@torch.no_grad()
def views_of(asset: Asset, size_px: int = RENDER_PX) -> tuple[Tensor, Tensor]:
    """Render the eight graded views over light gray, on the CPU.

    Returns images [8, H, W, 3] in [0, 1] and alpha [8, H, W].
    """
    return _render(asset, ring(VIEWS, size_px, ELEVATION_DEG))


@torch.no_grad()
def janus_of(asset: Asset, kind: str, classifier: Classifier) -> float | None:
    """Compute `Grade.janus`.

    Only "front" and "back" are compared: a back view mistaken for a side is not a second front.
    """
    if not KINDS[kind].has_front:
        return None
    seen = classifier.classify(
        resize(_render(asset, ring(12, RENDER_PX, ELEVATION_DEG)[BACK_VIEWS])[0])
    )
    return (
        (seen.probability("view", "front") > seen.probability("view", "back")).float().mean().item()
    )


def _render(asset: Asset, cameras: Cameras) -> tuple[Tensor, Tensor]:
    out = draw(asset, cameras, (LIGHT_GRAY, LIGHT_GRAY, LIGHT_GRAY))
    return out.rgb.clamp(0, 1).cpu(), out.alpha[..., 0].cpu()


def check_words(meaning: Meaning, classifier: Classifier) -> None:
    """Raise `UserError` for a kind, color or pattern that the classifier does not know."""
    for attribute in ("kind", "color", "pattern"):
        known = classifier.answers[attribute]
        for thing in filter(None, (meaning.thing, meaning.other)):
            if (word := getattr(thing, attribute) or PLAIN) not in known:
                raise UserError(
                    f"{attribute} {word!r}: unknown to the classifier;"
                    f" expected one of {', '.join(known)}"
                )


@torch.no_grad()
def grade(
    asset: Asset,
    meaning: Meaning | None,
    classifier: Classifier,
    reference: Reference | None = None,
) -> Grade:
    """Grade an asset against the `meaning` of its prompt.

    The views are eight azimuths at 15° elevation, three back views for the Janus metric, 16 views
    for the comparison with `reference`, and of two objects eight of each part at each plane
    (`metrics.two_objects`), some seconds. Without a meaning, only the metrics that need no
    prompt are computed. Raises `UserError` for a kind, color or pattern that the classifier does
    not know, and `ValueError` for splats that cannot be rendered.
    """
    images, alpha = views_of(asset)
    appearance = appearance_of(images, alpha)
    surface = surface_of_asset(asset, around(RENDER_PX)) if reference else None
    distance = nearest(surface, reference.surfaces) if reference and surface else None
    return Grade(
        **_compared(images, alpha, surface, reference),
        **_classified(classifier.classify(resize(images)), meaning, classifier)
        | _of_two(asset, meaning, classifier),
        janus=janus_of(asset, meaning.thing.kind, classifier)
        if meaning and meaning.other is None
        else None,
        empty=(alpha < SOLID_ALPHA).flatten(1).all(1).float().mean().item(),
        residue=residue_of(alpha) if (alpha > VISIBLE_ALPHA).any() else None,
        floaters=floaters_of(asset, alpha, ring(VIEWS, RENDER_PX, ELEVATION_DEG))
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
        chamfer=distance.chamfer if distance else None,
        normal_deg=distance.normal_deg if distance else None,
    )


def _of_two(asset: Asset, meaning: Meaning | None, classifier: Classifier) -> dict[str, Any]:
    """Return the fields of `Grade` of two objects; none for one object or a mesh."""
    if meaning is None or meaning.other is None or not isinstance(asset, Splats):
        return {}
    both = two_objects(asset, meaning, classifier)
    return {
        "kind_right": both.kinds,
        "color_right": both.colors,
        "both_kinds": both.both_kinds,
        "exchanged_colors": both.exchanged,
        "relation_right": both.relation,
    }


def _compared(
    images: Tensor, alpha: Tensor, surface: Surface | None, reference: Reference | None
) -> dict[str, float | None]:
    """Return the fields of `Grade` that compare detail, colors and parts with the reference."""
    names = ("fine_detail", "grain", "edge_sharpness", "rim_width", "minor_colors", "small_parts")
    if reference is None or surface is None:
        return dict.fromkeys(names)
    own, other = detail_of(images, alpha), reference.detail
    detailed = other.energy is not None and other.energy >= LEAST_DETAIL**2
    energy, grain = _ratio(own.energy, other.energy) if detailed else None, None
    if own.grain is not None and other.grain is not None:
        grain = own.grain - other.grain
    values = (
        None if energy is None else math.sqrt(energy),
        grain,
        _ratio(own.sharpness, other.sharpness),
        _ratio(own.rim, other.rim),
        minor_color_recall(color_shares(images, alpha), reference.colors),
        small_part_recall(surface, reference.surfaces),
    )
    return dict(zip(names, values, strict=True))


def _ratio(value: float | None, reference: float | None) -> float | None:
    return value / reference if value is not None and reference else None


def _classified(
    classification: Classification, meaning: Meaning | None, classifier: Classifier
) -> dict[str, Any]:
    """Return the fields of `Grade` that come from the classifier."""
    metrics: dict[str, Any] = dict.fromkeys(
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
        return metrics | {"kinds": (), "colors": (), "views": ()}
    check_words(meaning, classifier)
    thing, classes = (
        meaning.thing,
        {
            attribute: classification.words(attribute)
            for attribute in ("kind", "color", "pattern", "view")
        },
    )
    if meaning.other is None:
        metrics["agreement"] = max(map(classes["kind"].count, classes["kind"])) / VIEWS
        for attribute, word in (
            ("kind", thing.kind),
            ("color", thing.color),
            ("pattern", thing.pattern or PLAIN),
        ):
            metrics[f"{attribute}_right"] = classes[attribute].count(word) / VIEWS
        for attribute, word in (("kind", thing.kind), ("color", thing.color)):
            metrics[f"{attribute}_probability"] = (
                classification.probability(attribute, word).mean().item()
            )
    return metrics | {
        "kinds": tuple(classes["kind"]),
        "colors": tuple(classes["color"]),
        "views": tuple(classes["view"]),
    }
