"""What a sample is called: the grammar of prompts that the built-in prior understands.

[PREFIX] a [SIZE] [MATERIAL] COLOR KIND [with COLOR PATTERN] [and|with a COLOR PART][, VIEW view]
[PREFIX] a COLOR KIND on|next to a COLOR KIND[, VIEW view]
"""

import re
from dataclasses import dataclass

import numpy as np

from gs3d.core.views import EXACT_VIEWS, VIEW_WORDS
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
"""Begins the caption of a picture that shows which way each surface faces instead of its color."""
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
    """All that a caption can say of one object."""

    kind: str
    color: str
    pattern: str | None = None
    pattern_color: str | None = None
    part: str | None = None
    part_color: str | None = None
    material: str | None = None
    size: str | None = None

    def phrase(self, rng: np.random.Generator | None = None) -> str:
        """E.g. "a tall red mug with white spots and a blue handle"; with `rng`, half the words that have synonyms are said by one."""

        def say(word: str | None) -> str:
            others = SYNONYMS.get(word or "", ())
            return (
                str(rng.choice(others))
                if rng is not None and others and rng.random() < 0.5
                else word or ""
            )

        text = with_article(
            " ".join(filter(None, map(say, (self.size, self.material, self.color, self.kind))))
        )
        extras = []
        if self.pattern:
            extras.append(f"{say(self.pattern_color)} {say(self.pattern)}")
        if self.part:
            colored = f"{say(self.part_color)} {self.part}"
            extras.append(colored if _takes_no_article(self.part) else with_article(colored))
        return f"{text} with {' and '.join(extras)}" if extras else text


@dataclass(frozen=True)
class Meaning:
    """What a caption says: one thing, or two and how the first stands to the other."""

    thing: Thing
    relation: str | None = None
    other: Thing | None = None

    def phrase(self, rng: np.random.Generator | None = None) -> str:
        """E.g. "a red ball on a green table"; `rng` as for `Thing.phrase`."""
        return self.thing.phrase(rng) + (
            f" {self.relation} {self.other.phrase(rng)}" if self.other else ""
        )


def with_article(text: str) -> str:
    """E.g. "an orange tree"."""
    return f"{'an' if text[0] in 'aeiou' else 'a'} {text}"


def _takes_no_article(part: str) -> bool:
    return part.endswith("s") or part in ("feet", "icing")


def with_view(text: str, view: str | None) -> str:
    """E.g. "a red mushroom, front view"."""
    return f"{text}, {view} view" if view else text


def words(text: str) -> list[str]:
    """The words of a text: lower case, punctuation dropped."""
    return re.findall(r"[a-z0-9]+", text.lower())


def vocabulary(known: set[str] | None = None) -> dict[str, list[str]]:
    """Every entry of the grammar by what it is for; with `known`, those that can be said in these single words."""
    entries = {
        "kinds": list(KINDS),
        "colors": list(NAMED),
        "patterns": [word for word in PATTERN_WORDS.values() if word],
        "parts": sorted({part for kind in KINDS.values() for part in kind.named}),
        "materials": [word for word in MATERIAL_WORDS.values() if word],
        "sizes": list(SIZE_WORDS),
        "relations": list(RELATION_WORDS),
        "synonyms": [other for others in SYNONYMS.values() for other in others],
        "views": [*VIEW_WORDS, *EXACT_VIEWS],
        "prefixes": [*PREFIXES, NORMALS_PREFIX],
        "grammar": ["a", "an", "of", "with", "and", "view"],
    }
    if known is None:
        return entries
    return {
        name: [entry for entry in listed if set(words(entry)) <= known]
        for name, listed in entries.items()
    }


def vocabulary_texts() -> list[str]:
    """All entries of `vocabulary()`: what a tokenizer of the world has to know."""
    return [entry for entries in vocabulary().values() for entry in entries]
