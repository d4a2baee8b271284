"""The contract of a guidance loss, and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from gs3d.priors.base import Condition, Prior

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


@dataclass(frozen=True)
class GuidanceOut:
    """The gradient on z0, and what to log."""

    grad: Float32[Tensor, "B C h w"]
    """The optimizer descends it."""
    target: Float[Tensor, "B C h w"] | None = None
    """The denoised estimate that the gradient points to, detached; for inspection. Losses in
    `GUIDANCE` give it."""
    log: dict[str, float] = field(default_factory=dict[str, float])
    """Name -> value, a column each in log.jsonl. Losses in `GUIDANCE` log at least "t", their
    time in [0, 1]."""


class Guidance(Protocol):
    """A loss: any callable with this signature, best a frozen dataclass whose fields are its
    settings. Draw all randomness from (seed, step) with `core.rng`, so that a run can be repeated
    and resumed."""

    def __call__(
        self,
        prior: Prior,
        condition: Condition,
        z0: Float[Tensor, "B C h w"],
        progress: float,
        seed: int,
        step: int,
    ) -> GuidanceOut:
        """The gradient on the latents `z0` at `progress` in [0, 1] of the stage."""
        ...


def is_guidance(value: Any) -> bool:
    """Whether `value` can be called as a guidance loss; a class cannot, its instance may."""
    return callable(value) and not isinstance(value, type)
