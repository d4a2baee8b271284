"""The contract of a guidance loss, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from gs3d.core.cameras import Cameras
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
        """The gradient on the latents `z0` at `progress` in [0, 1] of the stage.

        `seed` and `step` are those of the run, or with several particles of the one whose turn it
        is: each counts its iterations from 0.
        """
        ...


class LearnedModel(Protocol):
    """A denoiser that learns beside the representation: the distribution of its renders."""

    rows: int | None
    """Images that it computes at once; None for all. A run sets it before each iteration."""

    def denoise(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
        cameras: Cameras,
    ) -> Float[Tensor, "B C h w"]:
        """The estimate of z0 for renders from the B cameras, without gradient."""
        ...

    def train(
        self,
        condition: Condition,
        z0: Float[Tensor, "B C h w"],
        cameras: Cameras,
        seed: int,
        step: int,
    ) -> dict[str, float]:
        """Learn from the latents of an iteration; returns what to log. `seed` and `step` are those
        of the run, also with several particles.

        If a value is not finite, or an error is raised, nothing has changed.
        """
        ...

    def state_tensors(self) -> dict[str, Tensor]:
        """All that changes, for checkpoints."""
        ...

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state_tensors` gave. The tensors may be on another device."""
        ...


class LearningGuidance(Protocol):
    """A loss with a model that learns, such as VSD.

    A run calls `new_model` at the first iteration of each stage, gives the loss the model and the
    cameras as keyword arguments beside the six of `Guidance`, trains it after each gradient, and
    keeps it in its checkpoints.

    An optional member, `model_evaluations`, is the number of evaluations of the prior, with and
    without the prompt, that the model takes for one view of an iteration. `gs3d evaluate` counts
    it; without it the model counts as nothing.
    """

    def new_model(self, prior: Prior, seed: int) -> LearnedModel:
        """The model at the start of a stage. Raises `UserError` if `prior` is not fit for one."""
        ...

    def __call__(
        self,
        prior: Prior,
        condition: Condition,
        z0: Float[Tensor, "B C h w"],
        progress: float,
        seed: int,
        step: int,
        *,
        model: LearnedModel | None = None,
        cameras: Cameras | None = None,
    ) -> GuidanceOut:
        """As `Guidance`, with the model of the stage and the cameras of the B views."""
        ...


def learns(guidance: Any) -> bool:
    """Whether a loss has a model that learns."""
    return callable(getattr(guidance, "new_model", None))


def is_guidance(value: Any) -> bool:
    """Whether `value` can be called as a guidance loss; a class cannot, its instance may."""
    return callable(value) and not isinstance(value, type)
