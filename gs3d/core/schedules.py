"""Values that change over a run, as functions of its progress in [0, 1]."""

import math
from dataclasses import dataclass
from typing import Literal

from gs3d.core.checks import require, within


@dataclass(frozen=True)
class Ramp:
    """A value that changes continuously from `start` to `end` over the run.

    It depends on progress, not on the step count, because a run with a time limit does not know its
    number of steps in advance.
    """

    start: float
    """Value at progress 0."""
    end: float
    """Value at progress 1."""
    curve: Literal["linear", "sqrt", "exp"] = "linear"
    """linear: constant rate; sqrt: fast at first (Consistent3D, Eq. 12); exp: constant ratio, for
    learning rates."""

    def __post_init__(self) -> None:
        within("start, end", self.ends, "(-inf, inf)")
        # A ratio needs positive ends; even a ramp from 0 to 0 would divide by zero.
        require(
            "start, end",
            self.ends,
            self.curve != "exp" or min(self.ends) > 0,
            "numbers above 0 for curve 'exp'",
        )

    @property
    def ends(self) -> tuple[float, float]:
        """(start, end). Every value of the ramp lies between the two."""
        return self.start, self.end

    def __call__(self, progress: float) -> float:
        p = min(max(progress, 0.0), 1.0)
        if self.curve == "sqrt":
            p = math.sqrt(p)
        if self.curve == "exp":
            return self.start * (self.end / self.start) ** p
        return self.start + (self.end - self.start) * p


@dataclass(frozen=True)
class Steps:
    """A piecewise constant value: `values[i]` applies from progress `at[i]`; `at[0]` is 0."""

    at: tuple[float, ...]
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        within("at", self.at, "[0, 1]")
        if (
            len(self.at) != len(self.values)
            or not self.at
            or self.at[0] != 0
            or list(self.at) != sorted(self.at)
        ):
            raise ValueError(
                "Steps: `at` must rise from 0 and match `values` in length, "
                f"got at={self.at}, values={self.values}"
            )

    def __call__(self, progress: float) -> int:
        return [v for a, v in zip(self.at, self.values, strict=True) if a <= progress or a == 0][-1]
