"""The prompts that settings are tuned on, and those that results are reported on."""

from importlib.resources import files

import pytest

from gs3d.world.captions import vocabulary_texts, words
from gs3d.world.kinds import KINDS


def prompts(name):
    return (files("gs3d.configs") / "prompts" / f"{name}.txt").read_text().splitlines()


@pytest.mark.parametrize(("name", "each"), [("tuning", 1), ("reporting", 2)])
def test_every_kind_is_asked_for_in_words_of_the_world(name, each):
    listed = prompts(name)
    assert len(listed) == len(set(listed)) == each * len(KINDS)
    for kind in KINDS:
        assert sum(f" {kind} " in f" {text} " for text in listed) == each
    assert {word for text in listed for word in words(text)} <= {word for text in vocabulary_texts() for word in words(text)}


def test_what_is_reported_was_not_tuned_on():
    assert set(prompts("tuning")).isdisjoint(prompts("reporting"))
