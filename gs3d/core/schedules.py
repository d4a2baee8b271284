"""Values that change over a run, as functions of its progress in [0, 1]."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from gs3d.core.checks import require, within

_RISE, _FALL = NormalDist(0.5, 0.1), NormalDist(0.8, 0.3)
"""Below the first mean and above the second one, DreamTime's weight of a time has the shape of
these; between the means it is 1."""


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
    curve: Literal["linear", "sqrt", "exp", "dreamtime"] = "linear"
    """linear: constant rate; sqrt: fast at first (Consistent3D, Eq. 12); exp: constant ratio, for
    learning rates; dreamtime: for diffusion times in [0, 1], slow between 0.8 and 0.5 and fast
    below 0.3 (DreamTime, arXiv 2306.12422v1)."""

    def __post_init__(self) -> None:
        within("start, end", self.ends, "(-inf, inf)")
        # A ratio needs positive ends; even a ramp from 0 to 0 would divide by zero.
        require(
            "start, end",
            self.ends,
            self.curve != "exp" or min(self.ends) > 0,
            "numbers above 0 for curve 'exp'",
        )
        require(
            "start, end",
            self.ends,
            self.curve != "dreamtime" or (min(self.ends) >= 0 and max(self.ends) <= 1),
            "times in [0, 1] for curve 'dreamtime'",
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
        if self.curve == "dreamtime":
            first, last = (_weight_below(t) for t in self.ends)
            t = _time_at(first + (last - first) * p)
            return min(max(t, min(self.ends)), max(self.ends))
        return self.start + (self.end - self.start) * p


def _weight_below(t: float) -> float:
    """The integral of DreamTime's weight W up to the time `t`.

    W(t) is exp(−(t − m2)²/(2 s2²)) below m2, 1 from m2 to m1, and exp(−(t − m1)²/(2 s1²)) above m1,
    with m2 = 0.5, s2 = 0.1, m1 = 0.8 and s1 = 0.3. At progress p of a run, the time t is the one
    that has the share p of the weight above it. The paper's text was not at hand: formula and
    numbers are those of several implementations by others, one of which has s2 = 0.5. The weight
    of its second version also depends on the noise level, which a ramp does not know.
    """
    if t < _RISE.mean:
        return _area(_RISE) * _RISE.cdf(t)
    beyond = _area(_FALL) * max(_FALL.cdf(t) - 0.5, 0.0)
    return 0.5 * _area(_RISE) + min(t, _FALL.mean) - _RISE.mean + beyond


def _time_at(weight: float) -> float:
    """The time that has `weight` below it: the inverse of `_weight_below`."""
    if weight < 0.5 * _area(_RISE):
        return _RISE.inv_cdf(weight / _area(_RISE))
    t = weight - 0.5 * _area(_RISE) + _RISE.mean
    if t <= _FALL.mean:
        return t
    return _FALL.inv_cdf(0.5 + (t - _FALL.mean) / _area(_FALL))


def _area(curve: NormalDist) -> float:
    """The integral of the curve, scaled to the maximum 1."""
    return math.sqrt(2 * math.pi) * curve.stdev


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
