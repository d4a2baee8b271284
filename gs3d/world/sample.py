"""Random samples of the world: an object, what it is called, and its parts as the renderer reads them."""

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
"""How often a thing that may have it has a pattern, a part of another color, a material, a size, and another thing beside it."""
SMALL = 0.6
"""Radius of a small thing, of a usual one's."""
HEIGHT = {"tall": 1.45, "wide": 0.65}
"""How high a thing is, of its usual height."""
RADIUS = 0.97


@dataclass(frozen=True)
class Sample:
    """One object of the world, or two."""

    meaning: Meaning
    caption: str
    """The meaning in words, synonyms among them."""
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


class _Middle:
    """A generator as `kinds` uses it, whose uniform numbers keep to the middle `spread` of their range."""

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
    """A random object; `kind` and `color` are drawn when not given, and so is all else that a caption can say unless it is `plain`.

    `spread` in [0, 1] narrows the proportions to the middle of their ranges; how many parts there are stays as random. Two things come only
    with `pairs` and where the kind is left open. `split` is that of the thing (`splits.split_of`); "seen" holds for a second one too.
    """
    within("spread", spread, "[0, 1]")
    if pairs and kind is None and not plain and rng.random() < PAIR_SHARE:
        return realize(rng, _pair(rng, color, split), spread)
    return realize(rng, Meaning(_thing(rng, kind, color, plain, split)), spread)


def realize(rng: np.random.Generator, meaning: Meaning, spread: float = 1.0) -> Sample:
    """A random object that a caption of this meaning is true of."""
    thing, other = meaning.thing, meaning.other
    if other is None:
        radius = RADIUS * (SMALL if thing.size == "small" else 1.0)
        parts = fit_unit_sphere(build(rng, thing, spread), radius)
        return Sample(meaning, thing.phrase(rng), _painted(rng, thing, parts))
    upper, lower = (
        fit_unit_sphere(build(rng, thing, spread), 0.6),
        fit_unit_sphere(build(rng, other, spread), 1.0),
    )
    a_low, (b_low, b_high) = bounds(upper)[0], bounds(lower)
    offset = np.array([0.0, 0.0, b_high[2] - a_low[2]])
    if meaning.relation == "next to":
        offset = np.array([0.0, b_high[1] - a_low[1] + 0.08, b_low[2] - a_low[2]])
    both = fit_unit_sphere([p.moved(offset, 1.0) for p in upper] + lower, RADIUS)
    rows = [_painted(rng, thing, both[: len(upper)]), _painted(rng, other, both[len(upper) :])]
    return Sample(meaning, meaning.phrase(rng), np.concatenate(rows))


def reference_objects(meaning: Meaning, count: int) -> list[Sample]:
    """The first `count` of a row of random objects of full variety that the meaning is true of, always the same for the same meaning."""
    rng = np.random.default_rng(derive_seed(0, "truth", repr(meaning)))
    return [realize(rng, meaning) for _ in range(count)]


def _pair(rng: np.random.Generator, color: str | None, split: Split | None) -> Meaning:
    """Two things: one on top of the other, or at its left."""
    relation = "on" if rng.random() < 0.5 else "next to"
    first = _thing(rng, str(rng.choice(_small(color, split))), color, True, split)
    below = [
        k.name for k in KINDS.values() if (k.carries if relation == "on" else k.name != first.kind)
    ]
    return Meaning(
        first,
        relation,
        _thing(rng, str(rng.choice(below)), None, True, split if split == "seen" else None),
    )


@cache
def _small(color: str | None, split: Split | None) -> list[str]:
    """Kinds that look right on top of something; of some no plain thing is of the split, nor may be of the color."""
    small, colors = (
        [kind.name for kind in KINDS.values() if kind.small],
        [color] if color else list(NAMED),
    )
    fitting = [
        kind
        for kind in small
        if split is None or any(split_of(Thing(kind, c)) == split for c in colors)
    ]
    if not fitting:
        raise ValueError(f"sample: nothing plain, small and {color} is {split}")
    return fitting


def _thing(
    rng: np.random.Generator, kind: str | None, color: str | None, plain: bool, split: Split | None
) -> Thing:
    """What a caption will say, drawn again until it is of the split."""
    for _ in range(1000):
        thing = Thing(kind or str(rng.choice(list(KINDS))), color or str(rng.choice(list(NAMED))))
        if not plain:
            thing = _adorned(rng, thing)
        if split in (None, split_of(thing)):
            return thing
    raise ValueError(
        f"sample: no {'plain ' if plain else ''}{color or ''} {kind or 'thing'} is {split}"
    )


def _adorned(rng: np.random.Generator, thing: Thing) -> Thing:
    spec, extra = KINDS[thing.kind], {}
    others = [c for c in NAMED if c != thing.color]
    if spec.patterns and rng.random() < PATTERN_SHARE:
        # White is what people ask for most.
        white = thing.color != "white" and rng.random() < 0.4
        extra |= {
            "pattern": PATTERN_WORDS[int(rng.choice(spec.patterns))],
            "pattern_color": "white" if white else str(rng.choice(others)),
        }
    if spec.named and rng.random() < PART_SHARE:
        extra |= {"part": str(rng.choice(spec.named)), "part_color": str(rng.choice(others))}
    if rng.random() < MATERIAL_SHARE:
        extra["material"] = str(rng.choice([word for word in MATERIAL_WORDS.values() if word]))
    if rng.random() < SIZE_SHARE:
        extra["size"] = str(rng.choice(SIZE_WORDS))
    return replace(thing, **extra)


def build(rng: np.random.Generator, thing: Thing, spread: float) -> list[Part]:
    """The parts of a thing, its size and the paint of its named part as the caption says; at no particular place."""
    parts = KINDS[thing.kind].build(rng if spread == 1.0 else _Middle(rng, spread))
    if thing.size in HEIGHT:
        parts = [p.stretched(HEIGHT[thing.size]) for p in parts]
    return [replace(p, paint="accent") if thing.part and p.name == thing.part else p for p in parts]


def _painted(rng: np.random.Generator, thing: Thing, parts: list[Part]) -> np.ndarray:
    colors = {**FIXED, "main": near(thing.color, rng)}
    if thing.part_color:
        colors["accent"] = near(thing.part_color, rng)
    pattern, material = _code(PATTERN_WORDS, thing.pattern), _code(MATERIAL_WORDS, thing.material)
    pattern_rgb = near(thing.pattern_color, rng) if thing.pattern_color else (0.0, 0.0, 0.0)
    return table(parts, colors, pattern, pattern_rgb, material)


def _code(words: dict[int, str | None], word: str | None) -> int:
    return next(code for code, known in words.items() if known == word)
