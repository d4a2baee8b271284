"""What a sample is called: the grammar of prompts that the built-in prior understands.

[prefix] a COLOUR KIND [with COLOUR spots|stripes][, VIEW view]
"""

import re

from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS
from gs3d.world.colours import NAMED
from gs3d.world.kinds import KINDS

PATTERN_WORDS = {0: None, 1: "spots", 2: "stripes"}
PREFIXES = ("a photo of", "a DSLR photo of", "a 3D render of", "a 3D model of")


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def caption(kind: str, colour: str, pattern: str | None = None, pattern_colour: str | None = None) -> str:
    """E.g. "a red mushroom with white spots"."""
    text = f"{article(colour)} {colour} {kind}"
    return f"{text} with {pattern_colour} {pattern}" if pattern else text


def with_view(text: str, view: str | None) -> str:
    """E.g. "a red mushroom, front view"."""
    return f"{text}, {view} view" if view else text


def words(text: str) -> list[str]:
    """The words of a prompt as the tokenizer sees them: lower case, punctuation dropped."""
    return re.findall(r"[a-z0-9]+", text.lower())


def vocabulary() -> dict[str, list[str]]:
    """Every word the grammar can produce, by what it is for."""
    grammar = ["a", "an", "of", "with", "view"]
    return {
        "kinds": list(KINDS),
        "colours": list(NAMED),
        "patterns": ["spots", "stripes"],
        "views": [*VIEW_WORDS, *EXACT_VIEWS],
        "prefixes": list(PREFIXES),
        "grammar": grammar,
    }


def vocabulary_words() -> list[str]:
    """All single words of `vocabulary()`, sorted, without repeats."""
    return sorted({word for entries in vocabulary().values() for entry in entries for word in words(entry)})
