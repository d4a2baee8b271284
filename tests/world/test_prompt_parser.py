"""Parsing prompts of the world."""

from importlib.resources import files

import numpy as np
import pytest

from gs3d.core.views.words import EXACT_VIEWS, VIEW_WORDS
from gs3d.world.captions import PREFIXES, Meaning, Thing, vocabulary_texts, with_view, words
from gs3d.world.prompt_parser import kinds_in, parse_prompt, plain_prompt
from gs3d.world.sample import sample


def test_captions_parse_to_meaning_of_sample():
    rng = np.random.default_rng(3)
    pairs = 0
    for i in range(600):
        drawn = sample(rng)
        text = f"{PREFIXES[i % len(PREFIXES)]} {drawn.caption}" if i % 3 else drawn.caption
        view = (*VIEW_WORDS, *EXACT_VIEWS, None)[i % 125]
        assert parse_prompt(with_view(text, view)) == drawn.meaning, drawn.caption
        pairs += drawn.meaning.other is not None
    assert pairs > 20


def test_kinds_in_finds_names_and_synonyms_in_any_text():
    known = {"red", "ice", "cream", "tortoise", "balloon", "hot", "air"}
    assert kinds_in("an ICE cream melting under a tortoise", known) == {"ice cream", "turtle"}
    assert kinds_in("a hot air balloon", known) == {"balloon"}
    assert kinds_in("a red duck on ice", known) == set()


@pytest.mark.parametrize("name", ["tuning", "reporting"])
def test_shipped_prompts_parse(name):
    for line in files("gs3d.configs").joinpath(f"prompts/{name}.txt").read_text().splitlines():
        meaning = parse_prompt(line)
        assert meaning and meaning.thing.phrase() == line


@pytest.mark.parametrize(
    ("prompt", "thing"),
    [
        (
            "A DSLR photo of a RED   mushroom, with white polka dots!",
            Thing("mushroom", "red", "spots", "white"),
        ),
        ("red ice cream", Thing("ice cream", "red")),
        (
            "the glossy tall gray mug with a blue handle",
            Thing("mug", "grey", part="handle", part_color="blue", material="glossy", size="tall"),
        ),
        (
            "a blue chair with yellow legs and white stripes",
            Thing("chair", "blue", "stripes", "white", "legs", "yellow"),
        ),
    ],
)
def test_equivalent_prompts(prompt, thing):
    assert parse_prompt(prompt) == Meaning(thing)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "a",
        "red",
        "a mushroom",
        "a red dragon",
        "a red mushroom with",
        "a red mushroom with spots",
        "a red mushroom with white spots and",
        "a red mushroom with white spots and black spots",
        "a red mushroom with a blue handle",
        "a red mushroom on",
        "a red ball on a dragon",
        "a red red mushroom",
        "a red mushroom in the rain",
        "a red mushroom with red spots",
        "a yellow snowman with white spots",
        "a normal map of a red duck",
    ],
)
def test_prompts_that_the_world_cannot_render(prompt):
    assert parse_prompt(prompt) is None


@pytest.mark.parametrize(
    "text, plain",
    [
        ("a DSLR photo of a shiny red toy car, 4k", "a red car"),
        ("an orange cake", "an orange cake"),
        ("a car", "a car"),
        ("a green car next to a red house", "a green car"),
        ("a red-and-blue bus on a street", "a blue bus"),
        ("a red hat on the head of a large dancing snowman", "a snowman"),
        ("a DSLR photo of a corgi", None),
    ],
)
def test_plain_prompt_of_any_text(text, plain):
    known = {word for entry in vocabulary_texts() for word in words(entry)}
    assert plain_prompt(text, known) == plain


def test_plain_prompt_uses_known_words_only():
    assert plain_prompt("a red car", {"red", "mug"}) is None
