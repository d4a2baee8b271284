"""Random samples of the world: an object, what it is called, and its parts as the renderer reads them."""

from dataclasses import dataclass

import numpy as np

from gs3d.core.checks import within
from gs3d.world import captions
from gs3d.world.colours import FIXED, NAMED, near
from gs3d.world.kinds import KINDS
from gs3d.world.parts import fit_unit_sphere, table


@dataclass(frozen=True)
class Sample:
    """One object of the world."""

    kind: str
    colour: str
    pattern: str | None
    pattern_colour: str | None
    parts: np.ndarray
    """[P, parts.ROW] float32, inside the unit sphere."""

    @property
    def caption(self) -> str:
        return captions.caption(self.kind, self.colour, self.pattern, self.pattern_colour)


class _Middle:
    """A generator as `kinds` uses it, whose uniform numbers keep to the middle `spread` of their range."""

    def __init__(self, rng: np.random.Generator, spread: float):
        self.rng, self.spread, self.integers = rng, spread, rng.integers

    def uniform(self, low: float, high: float) -> float:
        return 0.5 * (low + high) + self.spread * (self.rng.uniform(low, high) - 0.5 * (low + high))


def sample(
    rng: np.random.Generator, kind: str | None = None, colour: str | None = None, plain: bool = False, spread: float = 1.0
) -> Sample:
    """A random object; `kind` and `colour` are drawn when not given, a pattern half the time where the kind has one.

    `spread` in [0, 1] narrows the proportions to the middle of their ranges; how many parts there are stays as random.
    """
    within("spread", spread, "[0, 1]")
    kind = kind or str(rng.choice(list(KINDS)))
    colour = colour or str(rng.choice(list(NAMED)))
    spec = KINDS[kind]
    pattern, pattern_colour = 0, None
    if spec.patterns and not plain and rng.random() < 0.5:
        pattern = int(rng.choice(spec.patterns))
        # White is what people ask for; any other colour but the object's own comes as often as the rest together.
        others = [c for c in NAMED if c not in (colour, "white")]
        pattern_colour = "white" if colour != "white" and rng.random() < 0.5 else str(rng.choice(others))
    colours = {**FIXED, "main": near(colour, rng)}
    pattern_rgb = near(pattern_colour, rng) if pattern_colour else (0.0, 0.0, 0.0)
    parts = table(fit_unit_sphere(spec.build(rng if spread == 1.0 else _Middle(rng, spread))), colours, pattern, pattern_rgb)
    return Sample(kind, colour, captions.PATTERN_WORDS[pattern], pattern_colour, parts)
