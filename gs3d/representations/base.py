"""The interface of what a run optimizes: splats, a radiance field or a surface."""

from typing import ClassVar, Protocol

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Render


class Representation(Protocol):
    """A 3D shape that can be rendered, regularized, optimized and saved."""

    counts: ClassVar[str]
    """What `len` counts; the name of that number in the log."""

    def __len__(self) -> int:
        """Return the current size of the representation, in the unit that `counts` names."""
        ...

    @property
    def device(self) -> torch.device: ...

    def render(
        self,
        cameras: Cameras,
        background: Tensor,
        progress: float = 1.0,
        gen: torch.Generator | None = None,
        normals: bool = False,
    ) -> Render:
        """Render B images over `background`: [3], or [B, 3] for one color per camera.

        `normals` adds `Render.normal`. Without a generator, rendering is deterministic.
        """
        ...

    def regularizer(self, out: Render, progress: float) -> Tensor:
        """Return the weighted sum of all regularizers, a scalar."""
        ...

    def gradients(self) -> list[Tensor]:
        """Return the gradients of all parameters that have one."""
        ...

    def optimize(self, progress: float, share: float) -> None:
        """Take one optimizer step on the current gradients, then clear them.

        `share` is the fraction of the run that this step covers.
        """
        ...

    def after_step(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """Do the maintenance that is due between progress `before` and `now`.

        Splats are densified and pruned; a field updates its occupancy grid. Call it after
        `optimize`.
        """
        ...

    def discard_gradients(self) -> None:
        """Clear the current gradients, for a step that is skipped."""
        ...

    def is_consistent(self) -> bool:
        """Return False if an update was interrupted and the last checkpoint must be used."""
        ...

    def state_tensors(self) -> dict[str, Tensor]:
        """Return everything that changes during a run, for a checkpoint."""
        ...
