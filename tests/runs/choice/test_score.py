"""How well an object fits its prompt, by the prior of the run."""

import math

import numpy as np
import pytest

from gs3d.distill.settings.config import load_config
from gs3d.distill.start import begin
from gs3d.distill.state import Task
from gs3d.evaluation.reference import reference_splats, two_faced
from gs3d.priors.loading.resolve import load, resolve
from gs3d.priors.prompts import ViewPrompts
from gs3d.runs.choice.score import WORST, score_of
from gs3d.world.sample import sample


@pytest.fixture(scope="module")
def prior():
    return load(resolve("builtin"), device="cpu")


@pytest.fixture
def duck():
    return reference_splats(sample(np.random.default_rng(0), "duck", "red").parts, size_px=64)


def score(prior, prompt, splats, rows=8):
    config = load_config("builtin")
    task = Task(prior, ViewPrompts.of(prior, prompt), config, 0)
    return score_of(begin(config.stages[0], 0, "cpu", splats, 0.5), task, 0.5, rows)


def test_the_right_prompt_scores_more(prior, duck):
    right = score(prior, "a red duck", duck)
    for wrong in ("a blue duck", "a red chair", "a green house"):
        assert score(prior, wrong, duck) < right


def test_a_second_face_costs_score(prior, duck):
    assert score(prior, "a red duck", two_faced(duck)) < score(prior, "a red duck", duck)


def test_few_views_at_once_give_the_same_score(prior, duck):
    scores = [score(prior, "a red duck", duck, rows) for rows in (8, 2)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_an_object_that_cannot_be_judged_is_the_worst(prior, duck):
    duck.sh[:] = math.nan
    assert score(prior, "a red duck", duck) == WORST
