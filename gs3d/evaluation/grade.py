"""Marks for splats that should be what a prompt of the world says: are they that, with one face, clean, of the right shape?"""

from dataclasses import dataclass

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras, ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.augment import LIGHT_GREY
from gs3d.evaluation.clean import SEEN, SOLID, clipped_of, floaters_of, haze_of
from gs3d.evaluation.look import look_of
from gs3d.evaluation.recogniser import PLAIN, SIZE_PX, Judgement, Recogniser, resize
from gs3d.evaluation.surface import nearest, surface_of_made
from gs3d.evaluation.truth import Truth, around
from gs3d.representations.draw import Made, draw
from gs3d.world.captions import Meaning
from gs3d.world.kinds import KINDS

VIEWS, ELEVATION_DEG = 8, 15.0
BEHIND = slice(5, 8)
"""Of twelve pictures all round, those that Janus is marked on: 150°, 180° and 210°, well within what is called "back". At 135° and 225°,
where "side" begins, the recogniser gives neither "front" nor "back" any weight, and which of two nothings is the larger says nothing."""
DRAWN_PX = 2 * SIZE_PX  # drawn at twice the size and averaged, as the world's pictures have four rays a pixel


@dataclass(frozen=True)
class Grade:
    """Marks over the eight views, but where another is named; shares are in [0, 1]. None where there is no answer."""

    kind_right: float | None
    """Share of views named as the right kind; None for two things, of which either would be right."""
    colour_right: float | None
    """Share of views named as the right colour."""
    pattern_right: float | None
    """Share of views named as the right pattern, "plain" among them."""
    kind_probability: float | None
    """Mean probability of the right kind."""
    colour_probability: float | None
    """Mean probability of the right colour."""
    agreement: float | None
    """Share of views named as the kind that most views are named as, right or wrong: whether they show one thing. Of one thing only."""
    janus: float | None
    """Share of three pictures from behind (`BEHIND`) that look more like the front than like the back; None for a kind without a
    front. 0.02 of true objects, 0.9 of the same with two fronts (weights/recogniser.json, "two_faced")."""
    empty: float
    """Share of views without a solid pixel: what cannot be marked for haze, shape or look would else only be missing from their means."""
    haze: float | None
    """`clean.haze_of`; None where nothing is seen at all."""
    floaters: float | None
    """`clean.floaters_of`; None for a mesh, whose export leaves out what floats."""
    coverage: float
    """Mean alpha of the pictures."""
    clipped: float
    """`clean.clipped_of`"""
    saturation_drift: float | None
    """How much more saturated than true objects of the same words, [−1, 1]; None without any, or where nothing is solid."""
    brightness_drift: float | None
    chamfer: float | None
    """`surface.Distance`, to the nearest of the true objects; None without any, or where nothing is solid."""
    normal_deg: float | None
    kinds: tuple[str, ...]
    """The kind that each view was named as, azimuth 0°, 45°, …"""
    colours: tuple[str, ...]
    views: tuple[str, ...]
    r_precision: float | None = None
    """`clip.ClipMarks`; None without a CLIP model."""
    clip_similarity: float | None = None


@torch.no_grad()
def views_of(made: Made, size_px: int = DRAWN_PX) -> tuple[Tensor, Tensor]:
    """The views that are graded: pictures [8, H, W, 3] in [0, 1] over light grey, and alpha [8, H, W], on the CPU."""
    return _pictures(made, ring(VIEWS, size_px, ELEVATION_DEG))


@torch.no_grad()
def janus_of(made: Made, kind: str, judge: Recogniser) -> float | None:
    """See `Grade.janus`. Front is weighed against back alone: a side that is seen by mistake is no second face."""
    if not KINDS[kind].has_front:
        return None
    seen = judge.judge(resize(_pictures(made, ring(12, DRAWN_PX, ELEVATION_DEG)[BEHIND])[0]))
    return (seen.probability("view", "front") > seen.probability("view", "back")).float().mean().item()


def _pictures(made: Made, cameras: Cameras) -> tuple[Tensor, Tensor]:
    out = draw(made, cameras, (LIGHT_GREY,) * 3)
    return out.rgb.clamp(0, 1).cpu(), out.alpha[..., 0].cpu()


def check_words(meaning: Meaning, judge: Recogniser) -> None:
    """`UserError` for a kind, colour or pattern that the recogniser does not know."""
    for question in ("kind", "colour", "pattern"):
        word, known = getattr(meaning.thing, question) or PLAIN, judge.answers[question]
        if meaning.other is None and word not in known:
            raise UserError(f"{question} {word!r}: not one that can be graded; expected one of {', '.join(known)}")


@torch.no_grad()
def grade(made: Made, meaning: Meaning | None, judge: Recogniser, truth: Truth | None = None) -> Grade:
    """Judge what a run has made, which should be what `meaning` says, from 8 azimuths at 15° elevation and from behind, and from 16 sides
    against `truth`.

    Without a meaning, only what does not depend on one is marked. Raises `UserError` for a kind or colour that the recogniser does not
    know, `ValueError` for splats that cannot be drawn.
    """
    pictures, alpha = views_of(made)
    look = look_of(pictures, alpha)
    apart = nearest(surface_of_made(made, around(DRAWN_PX)), truth.surfaces) if truth else None
    return Grade(
        **_recognised(judge.judge(resize(pictures)), meaning, judge),
        janus=janus_of(made, meaning.thing.kind, judge) if meaning and meaning.other is None else None,
        empty=(alpha < SOLID).flatten(1).all(1).float().mean().item(),
        haze=haze_of(alpha) if (alpha > SEEN).any() else None,
        floaters=floaters_of(made, alpha, ring(VIEWS, DRAWN_PX, ELEVATION_DEG)) if isinstance(made, Splats) else None,
        coverage=alpha.mean().item(),
        clipped=clipped_of(alpha),
        saturation_drift=look.saturation - truth.look.saturation if truth and look else None,
        brightness_drift=look.brightness - truth.look.brightness if truth and look else None,
        chamfer=apart.chamfer if apart else None,
        normal_deg=apart.normal_deg if apart else None,
    )


def _recognised(judgement: Judgement, meaning: Meaning | None, judge: Recogniser) -> dict:
    """The marks that the recogniser gives."""
    marks = dict.fromkeys(("kind_right", "colour_right", "pattern_right", "kind_probability", "colour_probability", "agreement"))
    if meaning is None:
        return marks | {"kinds": (), "colours": (), "views": ()}
    check_words(meaning, judge)
    thing, named = meaning.thing, {question: judgement.words(question) for question in ("kind", "colour", "pattern", "view")}
    if meaning.other is None:
        marks["agreement"] = max(map(named["kind"].count, named["kind"])) / VIEWS
        for question, word in (("kind", thing.kind), ("colour", thing.colour), ("pattern", thing.pattern or PLAIN)):
            marks[f"{question}_right"] = named[question].count(word) / VIEWS
        for question, word in (("kind", thing.kind), ("colour", thing.colour)):
            marks[f"{question}_probability"] = judgement.probability(question, word).mean().item()
    return marks | {"kinds": tuple(named["kind"]), "colours": tuple(named["colour"]), "views": tuple(named["view"])}
