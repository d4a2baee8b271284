"""Grading of two objects: true ones of the world, exchanged ones, and ones that are not there."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.evaluation.classifier import Classifier
from gs3d.evaluation.grade import check_words, grade
from gs3d.evaluation.metrics import two_objects as two
from gs3d.evaluation.metrics.two_objects import TwoObjects, two_objects
from gs3d.evaluation.prompts import read_prompts
from gs3d.evaluation.reference import reference_for, reference_splats
from gs3d.world.captions import Meaning
from gs3d.world.mesh import mesh_of
from gs3d.world.prompt_parser import parse_prompt
from gs3d.world.sample import reference_objects

CLASSIFIER = Classifier.load()
ON, BESIDE = "a pink rabbit on an orange table", "a white ball next to a yellow train"


@pytest.fixture(autouse=True)
def fewer_planes(monkeypatch):
    """Half as many planes take half the time."""
    monkeypatch.setattr(two, "PLANES", two.PLANES[::2])


def meaning_of(prompt: str) -> Meaning:
    """The meaning of a prompt of the world."""
    meaning = parse_prompt(prompt)
    assert meaning is not None
    return meaning


@cache
def true_splats(meaning: Meaning) -> Splats:
    """Ideal splats of an object that matches the meaning."""
    return reference_splats(reference_objects(meaning, 1)[0].parts, size_px=72)


@pytest.mark.parametrize("prompt", [ON, BESIDE])
def test_true_objects_are_recognized_and_others_are_not(prompt):
    meaning = meaning_of(prompt)
    splats = true_splats(meaning)
    found = two_objects(splats, meaning, CLASSIFIER)
    assert found.kinds > 0.9 and found.colors > 0.9
    assert (found.both_kinds, found.exchanged, found.relation) == (1, 0, 1)


def test_objects_that_are_not_there_are_not_found():
    others = meaning_of("a red lamp next to a blue bus")
    found = two_objects(true_splats(meaning_of(BESIDE)), others, CLASSIFIER)
    assert found.kinds < 0.2 and found.both_kinds == 0 and found.colors < 0.2


def test_exchanged_colors_and_places_are_seen():
    meaning = meaning_of(ON)
    thing, other = meaning.thing, meaning.other
    assert other is not None
    colors = replace(
        meaning,
        thing=replace(thing, color=other.color),
        other=replace(other, color=thing.color),
    )
    found = two_objects(true_splats(colors), meaning, CLASSIFIER)
    assert found.both_kinds == 1 and found.exchanged > 0.9 and found.colors < 0.1
    beside = true_splats(replace(meaning, relation="next to"))
    assert two_objects(beside, meaning, CLASSIFIER).relation == 0


def test_two_of_one_kind_or_color_are_told_apart():
    meaning = meaning_of("a red ball next to a blue ball")
    found = two_objects(true_splats(meaning), meaning, CLASSIFIER)
    assert found.both_kinds == 1 and found.colors > 0.9
    assert (found.exchanged, found.relation) == (0, 1)
    one_color = meaning_of("a red rabbit on a red table")
    found = two_objects(true_splats(one_color), one_color, CLASSIFIER)
    assert found.colors > 0.9 and found.exchanged is None


def test_a_single_object_is_not_two():
    meaning = meaning_of(BESIDE)
    found = two_objects(true_splats(Meaning(meaning.thing)), meaning, CLASSIFIER)
    assert found.both_kinds == 0 and found.relation is None
    with pytest.raises(ValueError, match="expected two objects"):
        two_objects(true_splats(meaning), Meaning(meaning.thing), CLASSIFIER)


@pytest.mark.parametrize("opacity,far", [(0.05, 100), (0.9, 0), (0.9, 19)])
def test_next_to_almost_nothing_has_nothing(opacity, far):
    """Haze, and splats of which too few lie on the other side of every plane."""
    along = torch.cat([torch.zeros(100), torch.ones(far)])
    count = len(along)
    splats = Splats(
        means=torch.stack([along, torch.zeros(count), torch.zeros(count)], dim=1),
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        scales=torch.full((count, 3), 0.02),
        opacities=torch.full((count,), opacity),
        sh=torch.zeros(count, 1, 3),
    )
    assert two_objects(splats, meaning_of(ON), CLASSIFIER) == TwoObjects(0, 0, 0, 0, None)


def test_grades_of_two_objects_name_both():
    meaning = meaning_of(BESIDE)
    splats = true_splats(meaning)
    graded = grade(splats, meaning, CLASSIFIER, reference_for(meaning, objects=4))
    assert graded.chamfer is not None and graded.chamfer < 0.1
    assert graded.both_kinds == 1 and graded.relation_right == 1 and graded.exchanged_colors == 0
    assert graded.kind_right is not None and graded.kind_right > 0.9
    assert graded.pattern_right is graded.janus is graded.agreement is None
    single = grade(true_splats(Meaning(meaning.thing)), Meaning(meaning.thing), CLASSIFIER)
    assert single.both_kinds is None and single.relation_right is None
    mesh = mesh_of(reference_objects(meaning, 1)[0].parts, resolution=24)
    assert grade(mesh, meaning, CLASSIFIER).kind_right is None
    with pytest.raises(UserError, match="unknown to the classifier"):
        check_words(Meaning(meaning.thing, "on", replace(meaning.thing, kind="dragon")), CLASSIFIER)


def test_prompts_to_report_on_share_no_kind_and_no_color():
    meanings = list(read_prompts("two-objects").meanings.values())
    assert len(meanings) == 24
    relations = [m.relation for m in meanings if m is not None]
    assert relations.count("on") == relations.count("next to") == 12
    for m in meanings:
        assert m is not None and m.other is not None
        assert m.thing.kind != m.other.kind and m.thing.color != m.other.color
