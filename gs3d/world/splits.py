"""Attribute combinations excluded from training, so that results on them can be flagged."""

from typing import Literal

from gs3d.core.rng import derive_seed
from gs3d.world.captions import Thing

Split = Literal["seen", "unseen"]
UNSEEN_SHARE, PAIR_SHARE = 0.2, 0.1
"""Fraction of unseen combinations in total, and of unseen pairs of kind and color."""


def split_of(thing: Thing) -> Split:
    """Whether an object with these attributes may occur in training.

    `PAIR_SHARE` of all pairs of kind and color are never seen, regardless of the other attributes.
    Among the rest, combinations of kind, color, pattern and part color are excluded at a rate that
    brings the unseen share to `UNSEEN_SHARE` overall.
    """
    pair = (thing.kind, thing.color)
    combination = (*pair, thing.pattern or "", thing.part_color or "")
    unseen = _hash("pair", *pair) < PAIR_SHARE or _hash("whole", *combination) < (
        UNSEEN_SHARE - PAIR_SHARE
    ) / (1 - PAIR_SHARE)
    return "unseen" if unseen else "seen"


def _hash(*words: str) -> float:
    """A fixed number in [0, 1) for the words.

    The seed 1 is the first for which the README's example is seen.
    """
    return derive_seed(1, "split", *words) % 10_000 / 10_000
