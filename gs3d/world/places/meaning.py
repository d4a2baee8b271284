"""Captions of places.

[PREFIX] a [COLOR] room|meadow|desert|snowfield with GROUP[, GROUP ...] and GROUP [in the evening]

A group is "a [SIZE] [MATERIAL] [COLOR] KIND", or "two" or "three" of it. Only rooms have colors.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gs3d.core.views.words import INSIDE_VIEWS
from gs3d.world.captions import SYNONYMS, Thing, with_article
from gs3d.world.kinds import KINDS

Setting = Literal["room", "meadow", "desert", "snowfield"]
SETTINGS: tuple[Setting, ...] = ("room", "meadow", "desert", "snowfield")
NUMBERS = {1: "a", 2: "two", 3: "three"}
EVENING = "in the evening"
MOST_OBJECTS = 8
MAX_TOKENS = 72
"""Tokens of a caption, with those of its begin and end and of a direction."""
_PLURALS = {"fish": "fish", "bookshelf": "bookshelves", "cactus": "cacti"}


def plural(word: str) -> str:
    """The plural of a kind or of one of its synonyms."""
    if word in _PLURALS:
        return _PLURALS[word]
    return word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


@dataclass(frozen=True)
class Group:
    """Equal objects of a place. The color of `thing` is "" if the caption leaves it open."""

    thing: Thing
    count: int = 1

    def phrase(self, rng: np.random.Generator | None = None) -> str:
        """Describe the objects, e.g. "two green trees"; `rng` as in `Thing.phrase`."""
        text = self.thing.phrase(rng)
        if self.count == 1:
            return text
        names = (self.thing.kind, *SYNONYMS.get(self.thing.kind, ()))
        name = max((n for n in names if text.endswith(n)), key=len)
        described = text.split(" ", 1)[1].removesuffix(name)
        return f"{NUMBERS[self.count]} {described}{plural(name)}"


@dataclass(frozen=True)
class PlaceMeaning:
    """Content of the caption of a place."""

    setting: Setting
    groups: tuple[Group, ...]
    color: str = ""
    """Color of the walls of a room; "" if the caption leaves it open, and for landscapes."""
    evening: bool = False

    def phrase(self, rng: np.random.Generator | None = None) -> str:
        """Describe the place, e.g. "a blue room with a red chair and two lamps"."""
        *others, last = [group.phrase(rng) for group in self.groups]
        things = f"{', '.join(others)} and {last}" if others else last
        where = with_article(f"{self.color} {self.setting}".strip())
        return f"{where} with {things}" + (f" {EVENING}" if self.evening else "")

    @property
    def things(self) -> list[Thing]:
        """The objects one by one, in the order in which they stand around the eye."""
        return [group.thing for group in self.groups for _ in range(group.count)]


def vocabulary_texts() -> list[str]:
    """The words that captions of places add to those of objects."""
    names = [name for kind in KINDS for name in (kind, *SYNONYMS.get(kind, ()))]
    return [*SETTINGS, *NUMBERS.values(), EVENING, *map(plural, names), *INSIDE_VIEWS]
