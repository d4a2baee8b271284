"""Which combinations a prior never sees in training, so that what it makes of them can be marked as such."""

from typing import Literal

from gs3d.core.rng import derive_seed
from gs3d.world.captions import Thing

Split = Literal["seen", "unseen"]
UNSEEN_SHARE, PAIR_SHARE = 0.2, 0.1


def split_of(thing: Thing) -> Split:
    """Whether training may show this thing.

    A tenth of all pairs of kind and color is never shown, whatever else is said; and of what is left, as many combinations of kind,
    color, pattern and part color as make a fifth unseen in all.
    """
    pair, whole = (
        (thing.kind, thing.color),
        (thing.kind, thing.color, thing.pattern or "", thing.part_color or ""),
    )
    unseen = _number("pair", *pair) < PAIR_SHARE or _number("whole", *whole) < (
        UNSEEN_SHARE - PAIR_SHARE
    ) / (1 - PAIR_SHARE)
    return "unseen" if unseen else "seen"


def _number(*what: str) -> float:
    """In [0, 1), fixed for the words. The seed is the first that leaves the README's example seen."""
    return derive_seed(1, "split", *what) % 10_000 / 10_000
