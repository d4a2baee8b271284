"""The grader on splats whose right marks are known."""

import dataclasses

import numpy as np
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.grade import clipped_of, grade, haze_of, janus_of
from gs3d.evaluation.recogniser import Judgement, Recogniser, labels
from gs3d.evaluation.truth import true_splats
from gs3d.world.sample import sample


@pytest.fixture(scope="module")
def judge():
    return Recogniser.load()


def truth(kind, colour, seed=0):
    return true_splats(sample(np.random.default_rng(seed), kind, colour, plain=True).parts, size_px=72)


def some(splats, keep):
    return Splats(*(getattr(splats, f.name)[keep] for f in dataclasses.fields(Splats)))


@pytest.mark.parametrize(
    ("kind", "colour"), [("mushroom", "red"), ("chair", "blue"), ("duck", "yellow"), ("house", "green"), ("mug", "pink")]
)
def test_a_true_object_gets_good_marks(judge, kind, colour):
    marks = grade(truth(kind, colour), kind, colour, judge)
    assert marks.kind_right >= 7 / 8 and marks.colour_right >= 7 / 8, marks
    assert marks.kind_probability > 0.7 and marks.colour_probability > 0.7
    assert marks.haze < 0.02 and marks.clipped < 0.01 and 0.05 < marks.coverage < 0.6
    assert len(marks.kinds) == len(marks.colours) == len(marks.views) == 8
    assert marks.janus is None if kind in ("mushroom", "mug") else marks.janus == 0


def test_another_kind_or_colour_gets_bad_marks(judge):
    marks = grade(truth("duck", "yellow"), "chair", "blue", judge)
    assert marks.kind_right == marks.colour_right == 0 and marks.kind_probability < 0.1


@pytest.mark.parametrize("kind", ["car", "duck", "snowman"])
def test_an_object_with_two_fronts_is_caught(judge, kind):
    splats = truth(kind, "red")
    half = some(splats, splats.means[:, 0] > 0)
    both = Splats(torch.cat([half.means, half.means * torch.tensor([-1.0, 1.0, 1.0])]), *(torch.cat([t, t]) for t in fields(half)))
    assert grade(both, kind, "red", judge).janus >= 0.3
    assert grade(splats, kind, "red", judge).janus == 0


def fields(splats):
    return splats.quats, splats.scales, splats.opacities, splats.sh


def test_smoke_about_the_object_shows_as_haze(judge):
    splats = truth("mushroom", "red")
    smoke = 0.1 * torch.randn(40, 3) + torch.tensor([0.0, 0.0, -0.5])
    smoke[:, :2] = torch.nn.functional.normalize(torch.randn(40, 2, generator=torch.Generator().manual_seed(0)), dim=1) * 0.85
    more = (torch.tensor([[1.0, 0, 0, 0]]).repeat(40, 1), torch.full((40, 3), 0.12), torch.full((40,), 0.12), torch.zeros(40, 1, 3))
    hazy = Splats(torch.cat([splats.means, smoke]), *(torch.cat([a, b]) for a, b in zip(fields(splats), more, strict=True)))
    assert grade(hazy, "mushroom", "red", judge).haze > 0.1


def test_no_splats_at_all_can_be_graded(judge):
    nothing = some(truth("mug", "red"), slice(0, 0))
    marks = grade(nothing, "mug", "red", judge)
    assert marks.coverage == marks.haze == marks.clipped == 0 and marks.kind_probability < 0.9


def test_haze_counts_thin_pixels_off_the_rim_only():
    alpha = torch.zeros(1, 128, 128)
    alpha[0, 40:80, 40:80] = 1
    alpha[0, 39, 40:80] = 0.3  # the soft rim of the square
    assert haze_of(alpha) == 0
    alpha[0, 100:110, 40:80] = 0.3
    assert haze_of(alpha) == pytest.approx(400 / (1600 + 40 + 400))
    assert haze_of(torch.full((1, 64, 64), 0.2)) == 1 and haze_of(torch.zeros(1, 64, 64)) == 0


def test_clipped_is_the_share_of_alpha_at_the_edge():
    alpha = torch.zeros(2, 100, 100)
    alpha[:, 50, :] = 1
    assert clipped_of(alpha) == pytest.approx(0.04)
    assert clipped_of(torch.zeros(1, 64, 64)) == 0


def test_janus_weighs_front_against_back_in_the_three_views_from_behind():
    answers = labels()
    views = torch.zeros(8, 4)  # front, side, back, overhead
    views[:, 1] = 1
    views[3] = torch.tensor([0.3, 0.5, 0.2, 0.0])
    views[4] = torch.tensor([0.1, 0.0, 0.9, 0.0])
    views[5] = torch.tensor([0.2, 0.5, 0.3, 0.0])
    views[0, 0] = 2
    kind, colour, pattern = (torch.zeros(8, len(answers[question])) for question in ("kind", "colour", "pattern"))
    judgement = Judgement(kind, colour, views, pattern, answers)
    assert janus_of(judgement, "duck") == pytest.approx(1 / 3)
    assert janus_of(judgement, "tree") is None


def test_words_that_are_not_of_the_world_are_named(judge):
    splats = truth("mug", "red")
    with pytest.raises(UserError, match="kind 'dragon': not one that can be graded; expected one of mushroom, "):
        grade(splats, "dragon", "red", judge)
    with pytest.raises(UserError, match="colour 'teal': .* expected one of red, "):
        grade(splats, "mug", "teal", judge)
