import numpy as np
import pytest

from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS
from gs3d.priors import builtin
from gs3d.world.captions import (
    NORMALS_PREFIX,
    PREFIXES,
    SYNONYMS,
    Thing,
    vocabulary,
    vocabulary_texts,
    with_view,
    words,
)
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS
from gs3d.world.sample import sample


def plain_words(text):
    """The caption with every synonym put back to the word it stands for."""
    for word, others in SYNONYMS.items():
        for other in others:
            text = f" {text} ".replace(f" {other} ", f" {word} ").strip()
    return text


def test_a_caption_says_what_the_sample_is_whatever_words_it_takes():
    rng = np.random.default_rng(0)
    pairs = 0
    for _ in range(300):
        made = sample(rng)
        said = plain_words(made.caption).removeprefix("an ").removeprefix("a ")
        if made.other:
            pairs += 1
            first, second = said.split(f" {made.relation} ")
            assert first == made.thing.phrase().split(" ", 1)[1]
            assert second.split(" ", 1)[1] == made.other.phrase().split(" ", 1)[1]
        else:
            assert said == made.thing.phrase().split(" ", 1)[1]
    assert pairs > 10


def test_all_words_that_a_kind_may_be_called_are_used():
    rng = np.random.default_rng(2)
    said = {Thing("rabbit", "grey", "spots", "white").phrase(rng) for _ in range(200)}
    assert "a grey rabbit with white spots" in said and "a gray bunny with white polka dots" in said
    assert len(said) == 2 * 2 * 3


def test_every_word_that_a_training_caption_can_hold_is_in_the_vocabulary():
    known, rng = (
        {word for text in vocabulary_texts() for word in words(text)},
        np.random.default_rng(1),
    )
    for kind in KINDS:
        for color in NAMED:
            text = sample(rng, kind, color).caption
            for prefix in (*PREFIXES, NORMALS_PREFIX):
                assert set(words(f"{prefix} {text}")) <= known
    assert {
        word for view in (*VIEW_WORDS, *EXACT_VIEWS) for word in words(with_view("", view))
    } <= known


def test_the_tokenizer_knows_them_all_and_the_longest_caption_fits_the_encoder():
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    longest = max(PREFIXES, key=lambda p: len(words(p)))
    thing = Thing("ice cream", "orange", "spots", "white", "cherry", "grey", "glossy", "small")
    said = max(
        (thing.phrase(np.random.default_rng(seed)) for seed in range(50)),
        key=lambda t: len(words(t)),
    )
    for view in EXACT_VIEWS:
        ids = tokenizer(with_view(f"{longest} {said}", view)).input_ids
        assert tokenizer.unk_token_id not in ids and len(ids) <= builtin.MAX_TOKENS


def test_a_direction_and_a_height_are_one_token_each():
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    assert tokenizer.tokenize("a red cup, 45 degrees left 15 up view")[-3:] == [
        "45left",
        "15up",
        "view",
    ]
    assert tokenizer.tokenize("front level") == ["front", "level"] and tokenizer.tokenize(
        "a Cup up"
    )[:2] == ["a", "cup"]
    assert len({tuple(tokenizer.tokenize(view)) for view in EXACT_VIEWS}) == len(EXACT_VIEWS)


def test_the_vocabulary_lists_what_the_world_has():
    entries = vocabulary()
    assert (
        entries["kinds"] == list(KINDS)
        and entries["colors"] == list(NAMED)
        and entries["views"] == [*VIEW_WORDS, *EXACT_VIEWS]
    )
    assert {"polka dots", "next to", "a normal map of", "bunny"} <= set(vocabulary_texts())


def test_no_word_stands_for_two_things():
    said = [word for others in SYNONYMS.values() for word in others]
    assert len(said) == len(set(said)) and not set(said) & {*KINDS, *NAMED, *vocabulary()["parts"]}


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (Thing("mushroom", "red", "spots", "white"), "a red mushroom with white spots"),
        (Thing("ice cream", "orange"), "an orange ice cream"),
        (Thing("chair", "blue", part="legs", part_color="yellow"), "a blue chair with yellow legs"),
        (
            Thing("mug", "orange", part="handle", part_color="orange", material="glossy"),
            "a glossy orange mug with an orange handle",
        ),
        (
            Thing("cake", "pink", "checks", "red", "icing", "blue", "metal", "tall"),
            "a tall metal pink cake with red checks and blue icing",
        ),
    ],
)
def test_captions_are_plain_english(thing, text):
    assert thing.phrase() == text


def test_the_view_word_comes_last_and_may_be_left_out():
    assert with_view("a red car", "front") == "a red car, front view"
    assert with_view("a red car", None) == "a red car"
