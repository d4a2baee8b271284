"""Captions of samples, and the vocabulary that they are built from."""

import numpy as np
import pytest

from gs3d.core.views.words import EXACT_VIEWS, VIEW_WORDS
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


def without_synonyms(text):
    """The caption with every synonym replaced by the word that it stands for."""
    for word, synonyms in SYNONYMS.items():
        for synonym in synonyms:
            text = f" {text} ".replace(f" {synonym} ", f" {word} ").strip()
    return text


def test_caption_without_synonyms_describes_sample():
    rng = np.random.default_rng(0)
    pairs = 0
    for _ in range(300):
        drawn = sample(rng)
        text = without_synonyms(drawn.caption).removeprefix("an ").removeprefix("a ")
        if drawn.other:
            pairs += 1
            first, second = text.split(f" {drawn.relation} ")
            assert first == drawn.thing.phrase().split(" ", 1)[1]
            assert second.split(" ", 1)[1] == drawn.other.phrase().split(" ", 1)[1]
        else:
            assert text == drawn.thing.phrase().split(" ", 1)[1]
    assert pairs > 10


def test_captions_use_all_synonyms():
    rng = np.random.default_rng(2)
    phrases = {Thing("rabbit", "grey", "spots", "white").phrase(rng) for _ in range(200)}
    assert "a grey rabbit with white spots" in phrases
    assert "a gray bunny with white polka dots" in phrases
    assert len(phrases) == 2 * 2 * 3


def test_vocabulary_contains_every_word_of_training_captions():
    known = {word for text in vocabulary_texts() for word in words(text)}
    rng = np.random.default_rng(1)
    for kind in KINDS:
        for color in NAMED:
            text = sample(rng, kind, color).caption
            for prefix in (*PREFIXES, NORMALS_PREFIX):
                assert set(words(f"{prefix} {text}")) <= known
    views = (*VIEW_WORDS, *EXACT_VIEWS)
    assert {word for view in views for word in words(with_view("", view))} <= known


def test_tokenizer_covers_longest_caption_within_max_tokens():
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    prefix = max(PREFIXES, key=lambda p: len(words(p)))
    thing = Thing("ice cream", "orange", "spots", "white", "cherry", "grey", "glossy", "small")
    caption = max(
        (thing.phrase(np.random.default_rng(seed)) for seed in range(50)),
        key=lambda t: len(words(t)),
    )
    for view in EXACT_VIEWS:
        ids = tokenizer(with_view(f"{prefix} {caption}", view)).input_ids
        assert tokenizer.unk_token_id not in ids and len(ids) <= builtin.MAX_TOKENS


def test_azimuth_and_elevation_are_one_token_each():
    tokenizer = builtin.new_tokenizer(vocabulary_texts())
    tokens = tokenizer.tokenize("a red cup, 45 degrees left 15 up view")
    assert tokens[-3:] == ["45left", "15up", "view"]
    assert tokenizer.tokenize("front level") == ["front", "level"]
    assert tokenizer.tokenize("a Cup up")[:2] == ["a", "cup"]
    assert len({tuple(tokenizer.tokenize(view)) for view in EXACT_VIEWS}) == len(EXACT_VIEWS)


def test_vocabulary_lists_kinds_colors_and_views():
    entries = vocabulary()
    assert entries["kinds"] == list(KINDS)
    assert entries["colors"] == list(NAMED)
    assert entries["views"] == [*VIEW_WORDS, *EXACT_VIEWS]
    assert {"polka dots", "next to", "a normal map of", "bunny"} <= set(vocabulary_texts())


def test_synonyms_are_unambiguous():
    synonyms = [word for listed in SYNONYMS.values() for word in listed]
    assert len(synonyms) == len(set(synonyms))
    assert not set(synonyms) & {*KINDS, *NAMED, *vocabulary()["parts"]}


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
def test_phrases_of_things(thing, text):
    assert thing.phrase() == text


def test_view_is_appended_and_optional():
    assert with_view("a red car", "front") == "a red car, front view"
    assert with_view("a red car", None) == "a red car"
