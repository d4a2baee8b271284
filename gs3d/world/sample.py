"""Random samples of the world: an object, its caption, and its parts as the renderer reads them."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from gs3d.core.checks import within
from gs3d.core.rng import derive_seed
from gs3d.world.captions import MATERIAL_WORDS, PATTERN_WORDS, SIZE_WORDS, Meaning, Thing
from gs3d.world.colors import FIXED, NAMED, near
from gs3d.world.kinds import KINDS
from gs3d.world.parts import Part, bounds, fit_unit_sphere, table
from gs3d.world.splits import Split, split_of

PATTERN_SHARE, PART_SHARE, MATERIAL_SHARE, SIZE_SHARE, PAIR_SHARE = 0.45, 0.3, 0.3, 0.2, 0.1
"""Probabilities that an object has each attribute, if its kind allows it.

The attributes are a pattern, a part of another color, a material, a size, and a second object.
"""
SMALL_SCALE = 0.6
"""Radius of a small object relative to the usual radius."""
HEIGHT_SCALE = {"tall": 1.45, "wide": 0.65}
"""Height of a tall or wide object relative to the usual height."""
RADIUS = 0.97
"""Usual radius of the bounding sphere of a sample."""


@dataclass(frozen=True)
class Sample:
    """One object of the world, or two, with a caption."""

    meaning: Meaning
    caption: str
    """The meaning in words, in part replaced by synonyms."""
    parts: np.ndarray
    """[P, parts.ROW] float32, inside the unit sphere."""

    @property
    def thing(self) -> Thing:
        return self.meaning.thing

    @property
    def relation(self) -> str | None:
        return self.meaning.relation

    @property
    def other(self) -> Thing | None:
        return self.meaning.other

    @property
    def kind(self) -> str:
        return self.thing.kind

    @property
    def color(self) -> str:
        return self.thing.color

    @property
    def pattern(self) -> str | None:
        return self.thing.pattern


class _NarrowedGenerator:
    """A random generator as `kinds` uses it, with uniform draws limited to part of their range.

    The part is centered and a fraction `spread` of the range wide.
    """

    def __init__(self, rng: np.random.Generator, spread: float):
        self.rng, self.spread, self.integers = rng, spread, rng.integers

    def uniform(self, low: float, high: float) -> float:
        return 0.5 * (low + high) + self.spread * (self.rng.uniform(low, high) - 0.5 * (low + high))


def sample(
    rng: np.random.Generator,
    kind: str | None = None,
    color: str | None = None,
    plain: bool = False,
    spread: float = 1.0,
    split: Split | None = None,
    pairs: bool = True,
) -> Sample:
    """Draw a random object, or two.

    Args:
        kind, color: Drawn at random if None.
        plain: Do not draw pattern, part color, material or size.
        spread: In [0, 1]. Proportions are drawn from the middle part of their ranges, this fraction
            wide. The number of parts is not affected.
        split: Split of the object (`splits.split_of`). If "seen", a second object is seen too.
        pairs: Allow samples of two objects. They occur only if `kind` is None and `plain` is False.

    Raises:
        ValueError: `spread` is out of range, or no such object is in the split.
    """
    within("spread", spread, "[0, 1]")
    if pairs and kind is None and not plain and rng.random() < PAIR_SHARE:
        return realize(rng, _draw_pair(rng, color, split), spread)
    return realize(rng, Meaning(_draw_thing(rng, kind, color, plain, split)), spread)


def realize(rng: np.random.Generator, meaning: Meaning, spread: float = 1.0) -> Sample:
    """Draw a random object that matches `meaning`; `spread` as in `sample`."""
    thing, other = meaning.thing, meaning.other
    if other is None:
        radius = RADIUS * (SMALL_SCALE if thing.size == "small" else 1.0)
        parts = fit_unit_sphere(build(rng, thing, spread), radius)
        return Sample(meaning, thing.phrase(rng), _colored_table(rng, thing, parts))
    first = fit_unit_sphere(build(rng, thing, spread), 0.6)
    second = fit_unit_sphere(build(rng, other, spread), 1.0)
    first_low, (second_low, second_high) = bounds(first)[0], bounds(second)
    offset = np.array([0.0, 0.0, second_high[2] - first_low[2]])
    if meaning.relation == "next to":
        offset = np.array([0.0, second_high[1] - first_low[1] + 0.08, second_low[2] - first_low[2]])
    both = fit_unit_sphere([p.moved(offset, 1.0) for p in first] + second, RADIUS)
    rows = [
        _colored_table(rng, thing, both[: len(first)]),
        _colored_table(rng, other, both[len(first) :]),
    ]
    return Sample(meaning, meaning.phrase(rng), np.concatenate(rows))


def reference_objects(meaning: Meaning, count: int) -> list[Sample]:
    """The first `count` random objects of a fixed sequence that match `meaning`.

    The sequence depends on `meaning` only. Proportions vary over their full ranges.
    """
    rng = np.random.default_rng(derive_seed(0, "truth", repr(meaning)))
    return [realize(rng, meaning) for _ in range(count)]


def _draw_pair(rng: np.random.Generator, color: str | None, split: Split | None) -> Meaning:
    """Draw two objects: the first on top of the second, or to its left."""
    relation = "on" if rng.random() < 0.5 else "next to"
    first = _draw_thing(rng, str(rng.choice(_small_kinds(color, split))), color, True, split)
    second_kinds = [
        k.name for k in KINDS.values() if (k.carries if relation == "on" else k.name != first.kind)
    ]
    second_split = split if split == "seen" else None
    second = _draw_thing(rng, str(rng.choice(second_kinds)), None, True, second_split)
    return Meaning(first, relation, second)


@cache
def _small_kinds(color: str | None, split: Split | None) -> list[str]:
    """Small kinds with at least one plain object in the split, of `color` if it is given.

    Raises:
        ValueError: There are none.
    """
    small = [kind.name for kind in KINDS.values() if kind.small]
    colors = [color] if color else list(NAMED)
    fitting = [
        kind
        for kind in small
        if split is None or any(split_of(Thing(kind, c)) == split for c in colors)
    ]
    if not fitting:
        raise ValueError(f"sample: no plain small object of color {color} is {split}")
    return fitting


def _draw_thing(
    rng: np.random.Generator, kind: str | None, color: str | None, plain: bool, split: Split | None
) -> Thing:
    """Draw the attributes of an object, repeatedly until they belong to the split.

    Raises:
        ValueError: None of 1000 draws does.
    """
    for _ in range(1000):
        thing = Thing(kind or str(rng.choice(list(KINDS))), color or str(rng.choice(list(NAMED))))
        if not plain:
            thing = _with_random_attributes(rng, thing)
        if split in (None, split_of(thing)):
            return thing
    raise ValueError(
        f"sample: no {'plain ' if plain else ''}{color or ''} {kind or 'object'} is {split}"
    )


def _with_random_attributes(rng: np.random.Generator, thing: Thing) -> Thing:
    kind, attributes = KINDS[thing.kind], {}
    others = [c for c in NAMED if c != thing.color]
    if kind.patterns and rng.random() < PATTERN_SHARE:
        # White patterns are the most common in prompts.
        white = thing.color != "white" and rng.random() < 0.4
        attributes |= {
            "pattern": PATTERN_WORDS[int(rng.choice(kind.patterns))],
            "pattern_color": "white" if white else str(rng.choice(others)),
        }
    if kind.named and rng.random() < PART_SHARE:
        attributes |= {"part": str(rng.choice(kind.named)), "part_color": str(rng.choice(others))}
    if rng.random() < MATERIAL_SHARE:
        attributes["material"] = str(rng.choice([word for word in MATERIAL_WORDS.values() if word]))
    if rng.random() < SIZE_SHARE:
        attributes["size"] = str(rng.choice(SIZE_WORDS))
    return replace(thing, **attributes)


def build(rng: np.random.Generator, thing: Thing, spread: float) -> list[Part]:
    """Draw the parts of an object, at an arbitrary position and scale; `spread` as in `sample`.

    The object is stretched by its size word. Its named part gets the paint "accent".
    """
    parts = KINDS[thing.kind].build(rng if spread == 1.0 else _NarrowedGenerator(rng, spread))
    if thing.size in HEIGHT_SCALE:
        parts = [p.stretched(HEIGHT_SCALE[thing.size]) for p in parts]
    return [replace(p, paint="accent") if thing.part and p.name == thing.part else p for p in parts]


def _colored_table(rng: np.random.Generator, thing: Thing, parts: list[Part]) -> np.ndarray:
    """Draw shades for the colors of `thing`; return the table [P, ROW] of its parts."""
    colors = {**FIXED, "main": near(thing.color, rng)}
    if thing.part_color:
        colors["accent"] = near(thing.part_color, rng)
    pattern, material = _code(PATTERN_WORDS, thing.pattern), _code(MATERIAL_WORDS, thing.material)
    pattern_rgb = near(thing.pattern_color, rng) if thing.pattern_color else (0.0, 0.0, 0.0)
    return table(parts, colors, pattern, pattern_rgb, material)


def _code(words: dict[int, str | None], word: str | None) -> int:
    return next(code for code, entry in words.items() if entry == word)
