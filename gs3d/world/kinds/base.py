"""The `Kind` of an object: a function that draws its parts, and the words that captions may use."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gs3d.world.parts import Part


class Rng(Protocol):
    """The methods of a `np.random.Generator` that kinds use."""

    def uniform(self, low: float, high: float) -> float: ...

    @property
    def integers(self) -> Callable[..., int]: ...


@dataclass(frozen=True)
class Kind:
    """A kind of object."""

    name: str
    build: Callable[[Rng], list[Part]]
    """Draws the parts of an object, at any scale and position.

    The front faces +X and up is +Z. Parts with the paint "main" get the color of the caption.
    """
    named: tuple[str, ...] = ()
    """Names of parts that a caption may color separately: "a blue chair with yellow legs"."""
    patterns: tuple[int, ...] = ()
    """Patterns that may be applied to its `patterned` parts."""
    has_front: bool = False
    """Whether the front and the back look different."""
    synonyms: tuple[str, ...] = ()
    """Other words for it that a caption may use."""
    carries: bool = False
    """Whether its top is flat and wide enough for another object.

    The top surface must coincide with the top of its bounding box.
    """
    small: bool = False
    """Whether it looks plausible on top of another object."""
