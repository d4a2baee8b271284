"""What a run optimizes, as the loop sees it: splats, a radiance field, a surface."""

from typing import ClassVar, Protocol

import torch
from torch import Tensor

from gs3d.core.cameras import Cameras
from gs3d.core.types import Render


class Representation(Protocol):
    """Can be drawn, kept tidy, optimized, tended and saved."""

    counts: ClassVar[str]
    """What `len` counts, for the log."""

    def __len__(self) -> int:
        """How much there is."""
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
        """B pictures over `background`, [3] or one a camera [B, 3], with `normal` if asked for.

        Without a generator nothing about them is left to chance.
        """
        ...

    def regularizer(self, out: Render, progress: float) -> Tensor:
        """The weighted sum of all regularizers, a scalar."""
        ...

    def gradients(self) -> list[Tensor]:
        """Those at hand."""
        ...

    def optimize(self, progress: float, share: float) -> None:
        """One step on the gradients at hand, which are cleared; `share` is how much of the run the step is."""
        ...

    def after_step(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """What is due between progress `before` and `now`: splats grow and go, a field looks where it is empty. After `optimize`."""
        ...

    def discard_gradients(self) -> None:
        """Forget the gradients at hand, for a step that is skipped."""
        ...

    def is_consistent(self) -> bool:
        """False when a change was cut short and the last checkpoint is the better state."""
        ...

    def state_tensors(self) -> dict[str, Tensor]:
        """All that changes, for a checkpoint."""
        ...
