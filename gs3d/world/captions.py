"""Captions of samples: the grammar of prompts that the built-in prior understands.

[PREFIX] a [SIZE] [MATERIAL] COLOR KIND [with COLOR PATTERN] [and|with a COLOR PART][, VIEW view]
[PREFIX] a COLOR KIND on|next to a COLOR KIND[, VIEW view]
"""

import re
from dataclasses import dataclass

import numpy as np

from gs3d.core.views.words import EXACT_VIEWS, VIEW_WORDS
from gs3d.world.colors import COLOR_SYNONYMS, NAMED
from gs3d.world.kinds import KINDS
from gs3d.world.parts import CHECKER, GLOSSY, MATTE, METAL, PLAIN, SPOTS, STRIPES

PATTERN_WORDS = {PLAIN: None, SPOTS: "spots", STRIPES: "stripes", CHECKER: "checks"}
MATERIAL_WORDS = {MATTE: None, GLOSSY: "glossy", METAL: "metal"}
SIZE_WORDS = ("small", "tall", "wide")
RELATION_WORDS = ("on", "next to")
PREFIXES = (
    "a photo of",
    "a DSLR photo of",
    "a 3D render of",
    "a 3D model of",
    "a zoomed out photo of",
)
NORMALS_PREFIX = "a normal map of"
"""Prefix of the caption of a normal map, an image of surface directions instead of colors."""
SYNONYMS: dict[str, tuple[str, ...]] = {
    **{kind.name: kind.synonyms for kind in KINDS.values() if kind.synonyms},
    **COLOR_SYNONYMS,
    "spots": ("polka dots", "dots"),
    "glossy": ("shiny",),
    "metal": ("metallic",),
    "small": ("little",),
}
"""Word of the world → other words that a caption may use for it."""


@dataclass(frozen=True)
class Thing:
    """One object as a caption describes it: kind, color and optional attributes."""

    kind: str
    color: str
    pattern: str | None = None
    pattern_color: str | None = None
    part: str | None = None
    part_color: str | None = None
    material: str | None = None
    size: str | None = None

    def phrase(self, rng: np.random.Generator | None = None) -> str:
        """Describe the object, e.g. "a tall red mug with white spots and a blue handle".

        With `rng`, each word that has synonyms is replaced by one of them with probability 0.5.
        """

        def choose_word(word: str | None) -> str:
            synonyms = SYNONYMS.get(word or "", ())
            return (
                str(rng.choice(synonyms))
                if rng is not None and synonyms and rng.random() < 0.5
                else word or ""
            )

        main_words = (self.size, self.material, self.color, self.kind)
        text = with_article(" ".join(filter(None, map(choose_word, main_words))))
        extras = []
        if self.pattern:
            extras.append(f"{choose_word(self.pattern_color)} {choose_word(self.pattern)}")
        if self.part:
            colored = f"{choose_word(self.part_color)} {self.part}"
            extras.append(colored if _takes_no_article(self.part) else with_article(colored))
        return f"{text} with {' and '.join(extras)}" if extras else text


@dataclass(frozen=True)
class Meaning:
    """Content of a caption: one object, or two objects and the relation of the first to the second.

    `relation` is one of `RELATION_WORDS`.
    """

    thing: Thing
    relation: str | None = None
    other: Thing | None = None

    def phrase(self, rng: np.random.Generator | None = None) -> str:
        """Describe the content, e.g. "a red ball on a green table"; `rng` as in `Thing.phrase`."""
        return self.thing.phrase(rng) + (
            f" {self.relation} {self.other.phrase(rng)}" if self.other else ""
        )


def with_article(text: str) -> str:
    """Prepend "a" or "an", e.g. "an orange tree"."""
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def _takes_no_article(part: str) -> bool:
    return part.endswith("s") or part in ("feet", "icing")


def with_view(text: str, view: str | None) -> str:
    """Append the view if there is one, e.g. "a red mushroom, front view"."""
    return f"{text}, {view} view" if view else text


def words(text: str) -> list[str]:
    """The words of a text, in lower case and without punctuation."""
    return re.findall(r"[a-z0-9]+", text.lower())


def vocabulary(known: set[str] | None = None) -> dict[str, list[str]]:
    """Role → every entry of the grammar with that role.

    With `known`, a set of single words, only entries that consist of these words are listed.
    """
    entries = {
        "kinds": list(KINDS),
        "colors": list(NAMED),
        "patterns": [word for word in PATTERN_WORDS.values() if word],
        "parts": sorted({part for kind in KINDS.values() for part in kind.named}),
        "materials": [word for word in MATERIAL_WORDS.values() if word],
        "sizes": list(SIZE_WORDS),
        "relations": list(RELATION_WORDS),
        "synonyms": [synonym for synonyms in SYNONYMS.values() for synonym in synonyms],
        "views": [*VIEW_WORDS, *EXACT_VIEWS],
        "prefixes": [*PREFIXES, NORMALS_PREFIX],
        "grammar": ["a", "an", "of", "with", "and", "view"],
    }
    if known is None:
        return entries
    return {
        role: [entry for entry in listed if set(words(entry)) <= known]
        for role, listed in entries.items()
    }


def vocabulary_texts() -> list[str]:
    """All entries of `vocabulary()`: the texts that a tokenizer of the world must cover."""
    return [entry for entries in vocabulary().values() for entry in entries]
