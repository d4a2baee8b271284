"""Settings of splats: how they start, how they are optimized, and what keeps them tidy."""

from dataclasses import dataclass

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp

GROUPS = ("means", "scales", "quats", "opacities", "sh0", "shN")
FACTOR_MAX = 4.0
"""Largest factor on a rate. Neither a very short run nor an iteration that a busy machine delayed
may scatter the splats."""


@dataclass(frozen=True)
class RateConfig:
    """Adam's rate for each parameter group over the run."""

    means: Ramp = Ramp(1.2e-2, 1.5e-3, "exp")
    """In world units; the object has radius 1."""
    scales: Ramp = Ramp(1e-2, 5e-3, "exp")
    quats: Ramp = Ramp(1e-2, 5e-3, "exp")
    opacities: Ramp = Ramp(5e-2, 2e-2, "exp")
    sh0: Ramp = Ramp(3e-2, 1e-2, "exp")
    shN: Ramp = Ramp(2e-3, 1e-3, "exp")
    iterations: int | None = None
    """The length of run that the rates above are meant for: a run of twice as many iterations takes half the rate in each, so
    that splats travel equally far on a fast and a slow machine. None takes the rates as they stand."""

    def __post_init__(self) -> None:
        for name in GROUPS:
            within(name, getattr(self, name).ends, "[0, inf)")
        if self.iterations is not None:
            within("iterations", self.iterations, "[1, inf)")

    def factor(self, share: float) -> float:
        """What a rate is multiplied by in an iteration that is `share` of the run, at most `FACTOR_MAX`.

        Adam moves a parameter by about its rate whatever the gradient's size, so a way is a sum of rates; that sum is what stays.
        """
        return 1.0 if self.iterations is None else min(share * self.iterations, FACTOR_MAX)


@dataclass(frozen=True)
class RegularizerConfig:
    """Weights of what keeps the cloud of splats a tidy object. Each term is a mean, so the weights do not depend on size."""

    sparsity: Ramp = Ramp(0.0, 0.0)
    opaque: Ramp = Ramp(0.0, 0.0)
    """These two: weights of `tidy.sparsity` and `tidy.opaque`."""
    outside: float = 1.0
    """Mean squared distance beyond the unit sphere: nothing leaves the pictures."""
    big: float = 1.0
    """Mean excess of the longest axis over `big_from`."""
    big_from: float = 0.08
    needle: float = 0.01
    """Mean excess of longest over middle axis, in log, over `needle_from`."""
    needle_from: float = 1.1

    def __post_init__(self) -> None:
        within("sparsity", self.sparsity.ends, "[0, inf)")
        within("opaque", self.opaque.ends, "[0, inf)")
        for name in ("outside", "big", "big_from", "needle", "needle_from"):
            within(name, getattr(self, name), "[0, inf)")


@dataclass(frozen=True)
class GaussianConfig:
    """The start and the optimization of a cloud of splats."""

    count: int = 3000
    """Splats at the start."""
    radius: float = 0.55
    """Standard size of the start blob: positions are uniform in a ball of this radius."""
    opacity: float = 0.1
    """Opacity at the start."""
    sh_degree: int = 0
    """Degree of view-dependent color, 0 to 3. Distillation gains nothing from a higher one: view-dependent light hides errors of shape."""
    rates: RateConfig = RateConfig()
    regularizers: RegularizerConfig = RegularizerConfig()

    def __post_init__(self) -> None:
        within("count", self.count, "[1, inf)")
        within("radius", self.radius, "(0, inf)")
        within("opacity", self.opacity, "(0, 1)")
        within("sh_degree", self.sh_degree, "[0, 3]")
