"""Which combinations a prior never sees in training, so that what it makes of them can be marked as such."""

from typing import Literal

from gs3d.core.rng import derive_seed
from gs3d.world.captions import Thing

Split = Literal["seen", "unseen"]
UNSEEN_SHARE = 0.2


def split_of(thing: Thing) -> Split:
    """The split of a thing's kind, colour, pattern and part colour together: a fixed fifth of these combinations is unseen."""
    number = derive_seed(0, "split", thing.kind, thing.colour, thing.pattern or "", thing.part_colour or "")
    return "unseen" if number % 1000 < 1000 * UNSEEN_SHARE else "seen"
