"""Scenes from one sentence: which objects, how large, and where."""

import pytest

from gs3d.compose.generated import write_scene
from gs3d.compose.scene_file import read_scene
from gs3d.compose.words import scene_of
from gs3d.core.errors import UserError


def test_the_second_object_comes_first_and_is_the_larger():
    scene = scene_of("A red ball on a green table")
    table, ball = scene.entries
    assert (table.prompt, table.size, table.relation) == ("a green table", 1.0, None)
    assert (ball.prompt, ball.relation, ball.other) == ("A red ball", "stands_on", table.name)
    assert 0.5 < ball.size < 0.8
    assert scene.prompt == "A red ball on a green table"


def test_a_house_is_larger_than_the_cat_before_it():
    house, cat = scene_of("a cat in front of a blue house with a red roof").entries
    assert (cat.relation, cat.other) == ("in_front_of", house.name)
    assert (house.prompt, house.size) == ("a blue house with a red roof", 1.0) and cat.size < 0.5
    cat, house = scene_of("a blue house next to a cat").entries
    assert (house.size, house.relation) == (1.0, "beside") and cat.size < 0.5


def test_prefix_goes_to_each_object_and_relations_follow_each_other():
    scene = scene_of("a DSLR photo of a lamp on top of a table behind a sofa")
    assert [entry.prompt for entry in scene.entries] == [
        "a DSLR photo of a sofa",
        "a DSLR photo of a table",
        "a DSLR photo of a lamp",
    ]
    names = [entry.name for entry in scene.entries]
    assert [entry.other for entry in scene.entries] == [None, *names[:2]]
    assert [entry.relation for entry in scene.entries] == [None, "behind", "stands_on"]


def test_objects_of_unknown_kinds_and_of_one_name():
    dragon, knight = scene_of("a knight beside a dragon").entries
    assert (dragon.size, knight.size) == (1.0, 0.6)
    first, second = scene_of("a red car behind a red car").entries
    assert first.name != second.name and first.size == second.size == 1.0


@pytest.mark.parametrize("text", ["a red ball", "a ball near a table", "on a table", ""])
def test_text_without_a_relation_is_one_line(text):
    with pytest.raises(UserError) as error:
        scene_of(text)
    assert "\n" not in str(error.value)


def test_scene_of_a_text_is_the_same_from_its_file(tmp_path):
    scene = scene_of("a white duck with an orange beak on a blue house")
    write_scene(tmp_path / "scene.yaml", scene)
    assert read_scene(tmp_path / "scene.yaml") == scene
