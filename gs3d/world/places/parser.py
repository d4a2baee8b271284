"""Parse a prompt of a place: recover from a caption what stands where."""

from dataclasses import replace
from functools import cache

from gs3d.world.captions import SYNONYMS, Thing, words
from gs3d.world.kinds import KINDS
from gs3d.world.places.meaning import (
    EVENING,
    MOST_OBJECTS,
    NUMBERS,
    SETTINGS,
    Group,
    PlaceMeaning,
    plural,
)
from gs3d.world.prompt_parser import Phrase, take, without_article, without_prefix, without_view


def parse_place(prompt: str) -> PlaceMeaning | None:
    """Parse a caption of a place, or an equivalent prompt; None if the world has no such place.

    Case, punctuation, prefixes, view words and articles are ignored.
    """
    text = without_article(without_view(without_prefix(tuple(words(prompt)))))
    evening = text[-len(EVENING.split()) :] == tuple(EVENING.split())
    rest = text[: -len(EVENING.split())] if evening else text
    color, rest = take(rest, "color")
    if len(rest) < 2 or rest[0] not in SETTINGS or rest[1] != "with":
        return None
    setting, rest = rest[0], rest[2:]
    groups: list[Group] = []
    while rest:
        group, rest = _take_group(rest[1:] if groups and rest[0] == "and" else rest)
        if group is None:
            return None
        groups.append(group)
    count = sum(group.count for group in groups)
    if not 1 <= count <= MOST_OBJECTS or (color and setting != "room"):
        return None
    return PlaceMeaning(setting, tuple(groups), color or "", evening)


def _take_group(text: Phrase) -> tuple[Group | None, Phrase]:
    """The group that `text` starts with, None if it starts with none, and the rest."""
    numbers = {word: count for count, word in NUMBERS.items()} | {"an": 1, "the": 1, "one": 1}
    if not text or text[0] not in numbers:
        return None, text
    count, rest, found = numbers[text[0]], text[1:], {}
    for _ in range(3):
        for role in ("size", "material", "color"):
            entry, after = take(rest, role)
            if entry and role not in found:
                found[role], rest = entry, after
                break
    kind, rest = take(rest, "kind") if count == 1 else _take_plural(rest)
    if kind is None:
        return None, text
    return Group(replace(Thing(kind, ""), **found), count), rest


@cache
def _plurals() -> dict[Phrase, str]:
    """Phrase of a plural → kind."""
    return {
        tuple(words(plural(name))): kind
        for kind in KINDS
        for name in (kind, *SYNONYMS.get(kind, ()))
    }


def _take_plural(text: Phrase) -> tuple[str | None, Phrase]:
    for length in (3, 2, 1):
        if kind := _plurals().get(text[:length]):
            return kind, text[length:]
    return None, text
