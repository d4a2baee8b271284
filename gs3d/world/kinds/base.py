"""What a kind of object is: a function from a random generator to parts, and what a caption may say of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gs3d.world.parts import Part

Rng = np.random.Generator


@dataclass(frozen=True)
class Kind:
    """A kind of object. Its parts have their front towards +X and up +Z, at any size and place; "main" has the caption's color."""

    name: str
    build: Callable[[Rng], list[Part]]
    named: tuple[str, ...] = ()
    """Names of parts that a caption may give a color of their own: "a blue chair with yellow legs"."""
    patterns: tuple[int, ...] = ()
    """Patterns that its patterned parts may carry."""
    has_front: bool = False
    """Whether front and back look different."""
    synonyms: tuple[str, ...] = ()
    """Other words for it that a caption may use."""
    carries: bool = False
    """Whether its top is flat and wide enough to put something on; its box must end where the top does."""
    small: bool = False
    """Whether it looks right on top of something else."""
