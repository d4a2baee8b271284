"""The prompts that settings are tuned on, and those that results are reported on."""

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


def test_every_kind_is_reported_on_once():
    assert [thing_of(text).kind for text in prompts("reporting")] == list(KINDS)


@pytest.mark.parametrize("name", ["tuning", "reporting"])
def test_prompts_are_in_words_of_the_world(name):
    listed = prompts(name)
    assert len(listed) == len(set(listed)) == {"tuning": 24, "reporting": 60}[name]
    assert {word for text in listed for word in words(text)} <= {
        word for text in vocabulary_texts() for word in words(text)
    }


@pytest.mark.parametrize("name", ["reporting", "plain"])
def test_what_is_reported_was_not_tuned_on(name):
    assert set(prompts("tuning")).isdisjoint(prompts(name))


def test_plain_prompts_are_a_dozen_kinds_in_two_colors_each():
    things = [thing_of(text) for text in prompts("plain")]
    assert (
        len({t.kind for t in things}) == 12
        and len({(t.kind, t.color) for t in things}) == len(things) == 24
    )
    assert all(t == Thing(t.kind, t.color) for t in things)


def test_tuning_prompts_are_seen_ones_and_half_of_what_is_reported_is_not():
    assert {split_of(thing_of(text)) for text in prompts("tuning")} == {"seen"}
    assert [split_of(thing_of(text)) for text in prompts("reporting")] == ["seen", "unseen"] * (
        len(KINDS) // 2
    )


def test_the_ablation_is_a_shorter_report_on_every_family():
    shorter = [thing_of(text) for text in prompts("ablation")]
    assert len(shorter) == 24 and set(prompts("ablation")) < set(prompts("reporting"))
    assert {
        family
        for family, kinds in FAMILIES.items()
        if {k.name for k in kinds} & {t.kind for t in shorter}
    } == set(FAMILIES)
    assert [split_of(t) for t in shorter].count("unseen") == 12


def thing_of(text):
    """What a phrase without synonyms says; that it says nothing else is checked by saying it again."""
    kind = next(k for k in KINDS if f" {k} " in f" {text} ")
    head, _, tail = text.partition(f" {kind}")
    said = head.split()[1:]
    extras = [extra.split()[-2:] for extra in tail.removeprefix(" with ").split(" and ") if extra]
    pattern_color, pattern = next(
        (e for e in extras if e[1] in PATTERN_WORDS.values()), (None, None)
    )
    part_color, part = next((e for e in extras if e[1] in KINDS[kind].named), (None, None))
    material = next((m for m in MATERIAL_WORDS.values() if m in said), None)
    size = next((s for s in SIZE_WORDS if s in said), None)
    thing = Thing(kind, said[-1], pattern, pattern_color, part, part_color, material, size)
    assert thing.phrase() == text
    return thing
