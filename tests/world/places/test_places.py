"""Places: captions, where objects stand, and pictures."""

import math

import numpy as np
import pytest
import torch

from gs3d.core.cameras import unprojected
from gs3d.core.views.inside import EYE_HEIGHT, around, looking
from gs3d.core.views.words import INSIDE_VIEWS
from gs3d.world.captions import Thing, words
from gs3d.world.kinds import KINDS
from gs3d.world.mesh import distance_to
from gs3d.world.places.layout import JITTER_RAD, lowest, realize, reference_places, sample_place
from gs3d.world.places.meaning import (
    MOST_OBJECTS,
    Group,
    PlaceMeaning,
    plural,
    vocabulary_texts,
)
from gs3d.world.places.parser import parse_place
from gs3d.world.places.render import render_places
from gs3d.world.places.sizes import INDOORS, OUTDOORS, SIZES_M, radius_of
from gs3d.world.sample import sample


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(1)
    return [sample_place(rng) for _ in range(60)]


def test_captions_parse_to_the_meaning_of_the_place():
    rng = np.random.default_rng(3)
    for i in range(300):
        place = sample_place(rng)
        view = INSIDE_VIEWS[i % len(INSIDE_VIEWS)]
        text = f"a DSLR photo of {place.caption}, {view} view" if i % 2 else place.caption
        assert parse_place(text) == place.meaning, place.caption
        assert parse_place(place.meaning.phrase()) == place.meaning


def test_prompts_of_the_documentation_parse():
    room = parse_place("a blue room with a red chair and a lamp")
    assert room == PlaceMeaning(
        "room", (Group(Thing("chair", "red")), Group(Thing("lamp", ""))), "blue"
    )
    meadow = parse_place("a meadow with two trees and a house in the evening")
    assert meadow is not None and meadow.evening and meadow.things[1].kind == "tree"
    assert meadow.phrase() == "a meadow with two trees and a house in the evening"


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a room",
        "a room with",
        "a red meadow with a cat",
        "a kitchen with a cat",
        "a room with a cat and",
        "a room with a dragon",
        "a room with two cat",
        "a room with a cats",
        "a room with a red blue cat",
        "a red mug",
        "a room with " + " and ".join(["three cats"] * 3),
    ],
)
def test_other_prompts_are_no_places(prompt):
    assert parse_place(prompt) is None


def test_every_kind_has_a_size_and_a_plural_of_its_own():
    assert set(SIZES_M) == set(KINDS) >= {*INDOORS, *OUTDOORS}
    assert len({plural(kind) for kind in KINDS}) == len(KINDS)
    assert radius_of("mug") < radius_of("chair") < radius_of("house")
    known = {word for text in vocabulary_texts() for word in words(text)}
    assert {"room", "evening", "bookshelves", "two"} <= known


def test_objects_stand_on_the_ground_in_order_apart_and_inside(drawn):
    for place in drawn:
        count = len(place.objects)
        assert count == len(place.meaning.things) <= MOST_OBJECTS
        for i, thing in enumerate(place.objects):
            assert abs(lowest(thing.parts) + EYE_HEIGHT) < 1e-4
            turn = math.atan2(thing.center[1], thing.center[0]) - 2 * math.pi * i / count
            # Walls push large objects aside.
            loose = math.radians(25) if place.backdrop.setting == "room" else 0.0
            assert abs(math.remainder(turn, 2 * math.pi)) <= JITTER_RAD + loose + 1e-6
            assert np.linalg.norm(thing.center[:2]) > thing.radius
            if place.backdrop.setting == "room":
                assert (np.abs(thing.center[:2]) + thing.radius <= place.backdrop.half).all()
            for other in place.objects[:i]:
                apart = np.linalg.norm(thing.center - other.center)
                assert apart > 0.89 * (thing.radius + other.radius)


def test_lowest_point_of_an_object_touches_its_surface():
    rng = np.random.default_rng(0)
    for kind in KINDS:
        parts = sample(rng, kind, plain=True).parts
        low, grid = lowest(parts), np.linspace(-1, 1, 61)
        plane = np.stack([*np.meshgrid(grid, grid), np.full((61, 61), low)], -1).reshape(-1, 3)
        below = plane - (0, 0, 0.04)
        # Flat bottoms fall between the points of the grid only if they are narrower than it.
        assert distance_to(parts, plane).min() < 0.03, kind
        assert distance_to(parts, below).min() > 0.0, kind


def test_places_are_those_of_their_seed():
    meaning = parse_place("a room with a cat and two balls")
    assert meaning is not None
    first, second = (reference_places(meaning, 2) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert a.caption == b.caption and a.backdrop == b.backdrop
        assert all(
            np.array_equal(x.parts, y.parts) for x, y in zip(a.objects, b.objects, strict=True)
        )
    assert first[0].backdrop != first[1].backdrop


@pytest.mark.parametrize("prompt", ["a red room with a blue ball", "a snowfield with a black car"])
def test_depths_are_those_of_the_floor_the_walls_and_the_objects(prompt):
    meaning = parse_place(prompt)
    assert meaning is not None
    place = realize(np.random.default_rng(2), meaning)
    azimuth = torch.arange(6) * 1.047
    cameras = looking(
        azimuth, torch.full((6,), -0.2), 0.1 * torch.ones(6, 3), torch.full((6,), 1.0), 48, 48
    )
    pictures = render_places([place] * 6, cameras, supersample=1)
    assert (pictures.alpha == 1).all() and 0 <= pictures.rgb.min() <= pictures.rgb.max() <= 1
    points = unprojected(torch.from_numpy(pictures.depth), cameras).numpy()[pictures.depth > 0]
    backdrop = place.backdrop
    planes = np.abs(points[:, 2] + EYE_HEIGHT)
    if backdrop.setting == "room":
        sides = np.abs(np.abs(points[:, :2]) - backdrop.half).min(1)
        planes = np.minimum(np.minimum(planes, sides), np.abs(points[:, 2] - backdrop.height))
        assert (pictures.depth > 0).all()
    else:
        assert (pictures.depth == 0).any()
    to_object = np.abs(distance_to(place.objects[0].parts, points))
    assert np.minimum(planes, to_object).max() < 0.01
    assert (planes > 0.02).mean() > 0.01


def test_first_object_is_in_front_and_the_second_at_its_left():
    meaning = parse_place("a white room with a red ball, a green ball and a blue ball")
    assert meaning is not None
    place = realize(np.random.default_rng(0), meaning)
    pictures = render_places([place] * 3, around(3, 64, elevation_deg=-20))
    for channel, image in enumerate(pictures.rgb):
        others = np.delete(image, channel, axis=2).max(2)
        assert (image[..., channel] > others + 0.2).mean() > 0.02


def test_one_camera_a_place():
    place = sample_place(np.random.default_rng(0))
    with pytest.raises(ValueError, match="expected one camera per place, got 1 places and 2"):
        render_places([place], around(2, 8))
