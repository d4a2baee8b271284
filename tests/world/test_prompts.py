"""The prompt lists for tuning settings and for reporting results."""

from importlib.resources import files

import pytest

from gs3d.world.captions import (
    MATERIAL_WORDS,
    PATTERN_WORDS,
    SIZE_WORDS,
    Thing,
    vocabulary_texts,
    words,
)
from gs3d.world.kinds import FAMILIES, KINDS
from gs3d.world.splits import split_of


def prompts(name):
    return (files("gs3d.configs") / "prompts" / f"{name}.txt").read_text().splitlines()


def test_reporting_prompts_cover_every_kind_once():
    assert [thing_of(text).kind for text in prompts("reporting")] == list(KINDS)


@pytest.mark.parametrize("name", ["tuning", "reporting"])
def test_prompts_use_words_of_the_world(name):
    listed = prompts(name)
    assert len(listed) == len(set(listed)) == {"tuning": 24, "reporting": 60}[name]
    known = {word for text in vocabulary_texts() for word in words(text)}
    assert {word for text in listed for word in words(text)} <= known


@pytest.mark.parametrize("name", ["reporting", "plain"])
def test_tuning_and_reporting_prompts_are_disjoint(name):
    assert set(prompts("tuning")).isdisjoint(prompts(name))


def test_plain_prompts_are_12_kinds_in_two_colors_each():
    things = [thing_of(text) for text in prompts("plain")]
    assert len({t.kind for t in things}) == 12
    assert len({(t.kind, t.color) for t in things}) == len(things) == 24
    assert all(t == Thing(t.kind, t.color) for t in things)


def test_tuning_prompts_are_seen_and_half_of_reporting_prompts_are_unseen():
    assert {split_of(thing_of(text)) for text in prompts("tuning")} == {"seen"}
    splits = [split_of(thing_of(text)) for text in prompts("reporting")]
    assert splits == ["seen", "unseen"] * (len(KINDS) // 2)


def test_ablation_prompts_are_subset_of_reporting_with_every_family():
    things = [thing_of(text) for text in prompts("ablation")]
    assert len(things) == 24 and set(prompts("ablation")) < set(prompts("reporting"))
    kinds = {t.kind for t in things}
    assert all(kinds & {k.name for k in family} for family in FAMILIES.values())
    assert [split_of(t) for t in things].count("unseen") == 12


def thing_of(text):
    """Parse a phrase without synonyms; the round trip asserts that nothing was left out."""
    kind = next(k for k in KINDS if f" {k} " in f" {text} ")
    head, _, tail = text.partition(f" {kind}")
    adjectives = head.split()[1:]
    extras = [extra.split()[-2:] for extra in tail.removeprefix(" with ").split(" and ") if extra]
    pattern_color, pattern = next(
        (e for e in extras if e[1] in PATTERN_WORDS.values()), (None, None)
    )
    part_color, part = next((e for e in extras if e[1] in KINDS[kind].named), (None, None))
    material = next((m for m in MATERIAL_WORDS.values() if m in adjectives), None)
    size = next((s for s in SIZE_WORDS if s in adjectives), None)
    thing = Thing(kind, adjectives[-1], pattern, pattern_color, part, part_color, material, size)
    assert thing.phrase() == text
    return thing
