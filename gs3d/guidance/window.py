"""Random times from a window that slides down, as GCS, SCTD and ScaleDreamer draw them."""

from __future__ import annotations

from dataclasses import dataclass

from gs3d.core.checks import require, within
from gs3d.core.schedules import Ramp
from gs3d.guidance.distillation import T_MAX, Distillation, Inputs

T_MIN = 0.02
"""Lower end of all windows, as in the released codes."""


@dataclass(frozen=True)
class Windowed(Distillation):
    """A loss whose random times lie in a window below `t`. A subclass defines `gradient`.

    The defaults are those that the released codes of GCS and SCTD share: 0.5 to 0.98 at first, 0.02
    to 0.5 from 1500 of 5000 iterations on. In LucidDreamer's, from which theirs are made, the upper
    end slides in the same way and the lower one stays at 0.02, as with `window` 0.96.
    """

    t: Ramp = Ramp(0.98, 0.5)
    """Upper end of the window. Without `random_t`, the time over the run."""
    random_t: bool = True
    """Draw the time uniformly from the window; False follows `t`."""
    window: float = 0.48
    """Width of the window, which ends at 0.02."""
    slide: float = 0.3
    """Progress at which the upper end has arrived at the end of `t`; it stays there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        within("window", self.window, "[0, 1]")
        within("slide", self.slide, "(0, 1]")
        # It would cut the window a second time.
        require("narrow_t", self.narrow_t, self.narrow_t is None, "none with a window")

    def range_at(self, progress: float) -> tuple[float, float]:
        """Lower and upper end of the window."""
        high = min(self.t(progress / self.slide), T_MAX)
        return min(max(high - self.window, T_MIN), high), high

    def time(self, inputs: Inputs) -> float:
        if not self.random_t:
            return super().time(inputs)
        low, high = self.range_at(inputs.progress)
        return low + (high - low) * inputs.uniform("t")
