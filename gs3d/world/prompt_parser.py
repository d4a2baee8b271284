"""Parse a prompt of the world: recover from a caption the object or objects that it describes."""

import difflib
from functools import cache

from gs3d.core.views.words import EXACT_VIEWS, INSIDE_VIEWS, VIEW_WORDS
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
BETWEEN = 2
"""Largest number of words between a color and the object that it belongs to."""


def parse_prompt(prompt: str) -> Meaning | None:
    """Parse a caption, or an equivalent prompt; None if the world cannot render the text.

    Case, punctuation, prefixes, view words and articles are ignored. Size, material and color may
    come in any order.
    """
    rest = without_view(without_prefix(tuple(words(prompt))))
    for relation in RELATION_WORDS:
        phrase = tuple(words(relation))
        for at in range(1, len(rest) - len(phrase)):
            if rest[at : at + len(phrase)] == phrase:
                first, other = _parse_thing(rest[:at]), _parse_thing(rest[at + len(phrase) :])
                return Meaning(first, relation, other) if first and other else None
    thing = _parse_thing(rest)
    return Meaning(thing) if thing else None


def kinds_in(prompt: str, known: set[str]) -> set[str]:
    """The kinds that occur anywhere in a text under names that consist of `known` words."""
    text = tuple(words(prompt))
    runs = {text[i:j] for i in range(len(text)) for j in range(i + 1, min(i + 4, len(text) + 1))}
    return {
        kind
        for phrase, kind in _entries()["kind"].items()
        if phrase in runs and set(phrase) <= known
    }


def plain_prompt(prompt: str, known: set[str]) -> str | None:
    """The first kind of object in any text, with a color just before it, such as "a red car".

    Words between the two do not matter ("a red toy car"), at most `BETWEEN`. None if no kind occurs
    under a name that consists of `known` words.
    """
    text = tuple(words(prompt))
    for at in range(len(text)):
        kind, rest = take(text[at:], "kind")
        name = text[at : len(text) - len(rest)]
        if kind is None or not set(name) <= known:
            continue
        before = text[max(at - BETWEEN - 1, 0) : at]
        color = next(
            (c for i in range(len(before)) if (c := take(before[-1 - i :], "color")[0])), ""
        )
        said = f"{color} {kind}".strip()
        return f"{'an' if said[0] in 'aeiou' else 'a'} {said}"
    return None


def why_not(prompt: str) -> str:
    """Explain to the user why `parse_prompt` returned None for `prompt`."""
    known = {word for text in vocabulary_texts() for word in words(text)}
    text = words(prompt)
    unknown = [word for word in dict.fromkeys(text) if word not in known]
    if unknown:
        closest = {word: difflib.get_close_matches(word, known, 1, 0.6) for word in unknown}
        listed = ", ".join(
            f"{word!r}" + (f" (did you mean {closest[word][0]!r}?)" if closest[word] else "")
            for word in unknown
        )
        return f"the world has no word for {listed}"
    for role, missing in (("kind", "what it is"), ("color", "which color it has")):
        if not any(
            phrase == tuple(text[at : at + len(phrase)])
            for phrase in _entries()[role]
            for at in range(len(text))
        ):
            return f"it does not say {missing}"
    return "each word is known, but not in this order or company"


@cache
def _entries() -> dict[str, dict[Phrase, str]]:
    """Role → phrase (an entry of that role or one of its synonyms) → the entry."""
    patterns, materials = (
        [word for word in table.values() if word] for table in (PATTERN_WORDS, MATERIAL_WORDS)
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
        role: {phrase: entry for entry in entries for phrase in _phrases(entry)}
        for role, entries in roles.items()
    }


def _phrases(entry: str) -> list[Phrase]:
    return [tuple(words(name)) for name in (entry, *SYNONYMS.get(entry, ()))]


def without_prefix(text: Phrase) -> Phrase:
    """The text after "a photo of" and the like."""
    # NORMALS_PREFIX is not removed: a normal map does not show the colors of the object.
    for prefix in PREFIXES:
        phrase = tuple(words(prefix))
        if text[: len(phrase)] == phrase:
            return text[len(phrase) :]
    return text


def without_view(text: Phrase) -> Phrase:
    """The text before "front view" and the like."""
    for view in (*EXACT_VIEWS, *INSIDE_VIEWS, *VIEW_WORDS):
        phrase = (*words(view), "view")
        if text[-len(phrase) :] == phrase:
            return text[: -len(phrase)]
    return text


def take(text: Phrase, role: str) -> tuple[str | None, Phrase]:
    """The longest entry of a role that `text` starts with (None if none), and the rest."""
    for length in (3, 2, 1):
        entry = _entries()[role].get(text[:length]) if length <= len(text) else None
        if entry:
            return entry, text[length:]
    return None, text


def without_article(text: Phrase) -> Phrase:
    """The text after "a", "an" or "the"."""
    return text[1:] if text[:1] in (("a",), ("an",), ("the",)) else text


def _parse_thing(text: Phrase) -> Thing | None:
    rest, found = without_article(text), {}
    while rest:
        for role in ("size", "material", "color"):
            entry, after = take(rest, role)
            if entry and role not in found:
                found[role], rest = entry, after
                break
        else:
            break
    found["kind"], rest = take(rest, "kind")
    if not found["kind"] or "color" not in found:
        return None
    kind = KINDS[found["kind"]]
    for conjunction in ("with", "and"):
        if not rest:
            break
        if rest[0] != conjunction:
            return None
        color, rest = take(without_article(rest[1:]), "color")
        pattern, after_pattern = take(rest, "pattern")
        part, after_part = take(rest, "part")
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
