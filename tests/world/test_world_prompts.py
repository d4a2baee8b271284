"""The prompts that settings are tuned on, and those that results are reported on."""

from importlib.resources import files

import pytest

from gs3d.world.captions import PATTERN_WORDS, SIZE_WORDS, Thing, vocabulary_texts, words
from gs3d.world.kinds import KINDS
from gs3d.world.splits import split_of


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


def test_tuning_prompts_are_seen_ones_and_half_of_what_is_reported_is_not():
    things = {made.phrase(): split_of(made) for made in everything()}
    assert [things[text] for text in prompts("tuning")] == ["seen"] * len(KINDS)
    assert [things[text] for text in prompts("reporting")] == ["seen", "unseen"] * len(KINDS)


def everything():
    """Every thing that has at most a pattern, a part, a material and a size, kind by kind, whose phrase is one of the prompts'."""
    wanted = {text for name in ("tuning", "reporting") for text in prompts(name)}
    for text in wanted:
        kind = next(k for k in KINDS if f" {k} " in f" {text} ")
        head, _, tail = text.partition(f" {kind}")
        words_before = head.split()[1:]
        material = next((m for m in ("glossy", "metal") if m in words_before), None)
        size = next((s for s in SIZE_WORDS if s in words_before), None)
        extras = [part.split()[-2:] for part in tail.removeprefix(" with ").split(" and ") if part]
        patterns = [e for e in extras if e[1] in PATTERN_WORDS.values()]
        parts = [e for e in extras if e[1] in KINDS[kind].named]
        yield Thing(
            kind,
            words_before[-1],
            *((patterns[0][1], patterns[0][0]) if patterns else (None, None)),
            *((parts[0][1], parts[0][0]) if parts else (None, None)),
            material,
            size,
        )
