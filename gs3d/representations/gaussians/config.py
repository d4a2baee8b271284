"""Settings of 3D Gaussians: initialization, learning rates and regularizers."""

from dataclasses import dataclass
from typing import Literal

from gs3d.core.checks import within
from gs3d.core.schedules import Ramp

GROUPS = ("means", "scales", "quats", "opacities", "sh0", "shN")
FACTOR_MAX = 4.0
"""Upper bound of the learning rate factor. It keeps splats from scattering in a very short run, or
in an iteration that a busy machine delayed."""


@dataclass(frozen=True)
class RateConfig:
    """Adam's learning rate for each parameter group, as a function of progress."""

    means: Ramp = Ramp(1.2e-2, 1.5e-3, "exp")
    """In world units; the object has radius 1."""
    scales: Ramp = Ramp(1e-2, 5e-3, "exp")
    """Of the logarithms of the scales."""
    quats: Ramp = Ramp(1e-2, 5e-3, "exp")
    """Of the quaternions."""
    opacities: Ramp = Ramp(5e-2, 2e-2, "exp")
    """Of the logits of the opacities."""
    sh0: Ramp = Ramp(3e-2, 1e-2, "exp")
    """Of the colors, harmonics of degree 0."""
    shN: Ramp = Ramp(2e-3, 1e-3, "exp")
    """Of the harmonics above degree 0."""
    iterations: int | None = None
    """Run length for which the rates above are meant. A run of twice as many iterations uses half
    the rate in each, so splats travel equally far on fast and slow machines. None uses the rates
    unchanged."""

    def __post_init__(self) -> None:
        for name in GROUPS:
            within(name, getattr(self, name).ends, "[0, inf)")
        if self.iterations is not None:
            within("iterations", self.iterations, "[1, inf)")

    def factor(self, share: float) -> float:
        """Return the rate multiplier of an iteration that covers `share` of the run.

        It is at most `FACTOR_MAX`. Adam moves a parameter by about its rate, independent of the
        gradient's magnitude, so the distance traveled is the sum of the rates. The factor keeps
        that sum constant.
        """
        return 1.0 if self.iterations is None else min(share * self.iterations, FACTOR_MAX)


@dataclass(frozen=True)
class RegularizerConfig:
    """Weights of the regularizers of splats.

    Each term is a mean, so its weight depends neither on the image size nor on the splat count.
    """

    sparsity: Ramp = Ramp(0.0, 0.0)
    """Weight of `regularizers.sparsity`."""
    opaque: Ramp = Ramp(0.0, 0.0)
    """Weight of `regularizers.opaque`."""
    outside: float = 1.0
    """Weight of the mean squared distance outside the unit sphere, which keeps splats in view. Not
    for scenes."""
    big: float = 1.0
    """Weight of the mean excess of the longest axis over `big_from`. This and the next term measure
    splats without the smoothing filter."""
    big_from: float = 0.08
    """In world units; the object has radius 1."""
    needle: float = 0.01
    """Weight of the mean excess of log(longest axis / middle axis) over `needle_from`."""
    needle_from: float = 1.1
    """1.1 is a splat three times as long as wide."""

    def __post_init__(self) -> None:
        within("sparsity", self.sparsity.ends, "[0, inf)")
        within("opaque", self.opaque.ends, "[0, inf)")
        for name in ("outside", "big", "big_from", "needle", "needle_from"):
            within(name, getattr(self, name), "[0, inf)")


@dataclass(frozen=True)
class GaussianConfig:
    """Initialization and optimization of a set of splats."""

    start: Literal["ball", "surroundings"] = "ball"
    """ball: an object starts as a ball about the origin. surroundings: a scene, which is seen from
    near the origin, starts as a floor, a shell and a far sky (`surroundings.py`), and splats move
    the faster the farther away they are."""
    count: int = 3000
    """Initial number of splats."""
    radius: float = 0.55
    """Radius of the initial ball, in which positions are uniform; or of the shell of a scene."""
    sky_radius: float = 8.0
    """Radius of the sky of a scene."""
    opacity: float = 0.1
    """Initial opacity."""
    sh_degree: int = 0
    """Degree of the spherical harmonics, 0 to 3. Distillation does not gain from a higher degree:
    view-dependent color hides errors of shape."""
    smoothing_px: float = 0.55
    """Standard deviation of the 3D smoothing filter (`smoothing.smoothed`), in the smallest pixels
    of the training renders (`CameraConfig.pixel_size`). 0 applies none. 0.55 is as wide as the blur
    of the rasterizer, 0.3 px²."""
    rates: RateConfig = RateConfig()
    regularizers: RegularizerConfig = RegularizerConfig()

    def __post_init__(self) -> None:
        within("count", self.count, "[1, inf)")
        within("radius", self.radius, "(0, inf)")
        within("sky_radius", self.sky_radius, "(0, inf)")
        within("opacity", self.opacity, "(0, 1)")
        within("sh_degree", self.sh_degree, "[0, 3]")
        within("smoothing_px", self.smoothing_px, "[0, 4]")
