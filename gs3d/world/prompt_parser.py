"""What a prompt of the world means: the way back from a caption to the thing it names."""

import difflib
from functools import cache

from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS
from gs3d.world.captions import (
    MATERIAL_WORDS,
    PATTERN_WORDS,
    PREFIXES,
    RELATION_WORDS,
    SIZE_WORDS,
    SYNONYMS,
    Meaning,
    Thing,
    vocabulary_texts,
    words,
)
from gs3d.world.colors import NAMED
from gs3d.world.kinds import KINDS

Phrase = tuple[str, ...]


def parse_prompt(prompt: str) -> Meaning | None:
    """The things of a caption or of a prompt that says the same; None for a text that the world has no picture of.

    Upper and lower case, punctuation, prefixes, view words and articles do not matter, nor in which order size, material and color come.
    """
    rest = _without_view(_without_prefix(tuple(words(prompt))))
    for relation in RELATION_WORDS:
        mark = tuple(words(relation))
        for at in range(1, len(rest) - len(mark)):
            if rest[at : at + len(mark)] == mark:
                first, other = _thing(rest[:at]), _thing(rest[at + len(mark) :])
                return Meaning(first, relation, other) if first and other else None
    thing = _thing(rest)
    return Meaning(thing) if thing else None


def kinds_in(prompt: str, known: set[str]) -> set[str]:
    """Kinds that a text names, whatever else it says, in words that are all `known`."""
    said = tuple(words(prompt))
    runs = {said[i:j] for i in range(len(said)) for j in range(i + 1, min(i + 4, len(said) + 1))}
    return {kind for way, kind in _entries()["kind"].items() if way in runs and set(way) <= known}


def why_not(prompt: str) -> str:
    """What is wrong with a prompt that `understand` makes nothing of, for a person."""
    known = {word for text in vocabulary_texts() for word in words(text)}
    said = words(prompt)
    strange = [word for word in dict.fromkeys(said) if word not in known]
    if strange:
        near = {word: difflib.get_close_matches(word, known, 1, 0.6) for word in strange}
        listed = ", ".join(
            f"{word!r}" + (f" (did you mean {near[word][0]!r}?)" if near[word] else "")
            for word in strange
        )
        return f"the world has no word for {listed}"
    for role, what in (("kind", "what it is"), ("color", "which color it has")):
        if not any(
            phrase == tuple(said[at : at + len(phrase)])
            for phrase in _entries()[role]
            for at in range(len(said))
        ):
            return f"it does not say {what}"
    return "each word is known, but not in this order or company"


@cache
def _entries() -> dict[str, dict[Phrase, str]]:
    """Role → each way to say an entry of it → the world's own word."""
    patterns, materials = (
        [word for word in said.values() if word] for said in (PATTERN_WORDS, MATERIAL_WORDS)
    )
    parts = sorted({part for kind in KINDS.values() for part in kind.named})
    roles = {
        "kind": KINDS,
        "color": NAMED,
        "pattern": patterns,
        "material": materials,
        "size": SIZE_WORDS,
        "part": parts,
    }
    return {
        role: {said: entry for entry in entries for said in _ways(entry)}
        for role, entries in roles.items()
    }


def _ways(entry: str) -> list[Phrase]:
    return [tuple(words(said)) for said in (entry, *SYNONYMS.get(entry, ()))]


def _without_prefix(said: Phrase) -> Phrase:
    for prefix in PREFIXES:  # a normal map is no picture of the thing in its colors
        mark = tuple(words(prefix))
        if said[: len(mark)] == mark:
            return said[len(mark) :]
    return said


def _without_view(said: Phrase) -> Phrase:
    for view in (*EXACT_VIEWS, *VIEW_WORDS):
        mark = (*words(view), "view")
        if said[-len(mark) :] == mark:
            return said[: -len(mark)]
    return said


def _take(said: Phrase, role: str) -> tuple[str | None, Phrase]:
    """The entry of a role that `said` begins with, the longest that fits, and what follows it."""
    for length in (3, 2, 1):
        entry = _entries()[role].get(said[:length]) if length <= len(said) else None
        if entry:
            return entry, said[length:]
    return None, said


def _without_article(said: Phrase) -> Phrase:
    return said[1:] if said[:1] in (("a",), ("an",), ("the",)) else said


def _thing(said: Phrase) -> Thing | None:
    rest, found = _without_article(said), {}
    while rest:
        for role in ("size", "material", "color"):
            entry, after = _take(rest, role)
            if entry and role not in found:
                found[role], rest = entry, after
                break
        else:
            break
    found["kind"], rest = _take(rest, "kind")
    if not found["kind"] or "color" not in found:
        return None
    kind = KINDS[found["kind"]]
    for joint in ("with", "and"):
        if not rest:
            break
        if rest[0] != joint:
            return None
        color, rest = _take(_without_article(rest[1:]), "color")
        pattern, after_pattern = _take(rest, "pattern")
        part, after_part = _take(rest, "part")
        if not color or color == found["color"]:
            return None
        if pattern in {PATTERN_WORDS[code] for code in kind.patterns} and "pattern" not in found:
            found |= {"pattern": pattern, "pattern_color": color}
            rest = after_pattern
        elif part in kind.named and "part" not in found:
            found |= {"part": part, "part_color": color}
            rest = after_part
        else:
            return None
    return None if rest else Thing(**found)
