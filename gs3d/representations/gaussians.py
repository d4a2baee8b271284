"""3D Gaussians as parameters (Kerbl et al. 2023): log scales, logit opacities, quaternions, spherical-harmonic colours."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gs3d.core import rng
from gs3d.core.cameras import Cameras
from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.core.types import Render, Splats
from gs3d.raster import rasterize
from gs3d.representations.moments import Named, moments_of, put_moments
from gs3d.representations.tidy import opaque, sparsity

GROUPS = ("means", "scales", "quats", "opacities", "sh0", "shN")
FACTOR_MAX = 4.0  # of a rate: neither a very short run nor an iteration that a busy machine held up may tear the cloud apart


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
class RegulariserConfig:
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
    """The start and the optimisation of a cloud of splats."""

    count: int = 3000
    """Splats at the start."""
    radius: float = 0.55
    """Standard size of the start blob: positions are uniform in a ball of this radius."""
    opacity: float = 0.1
    """Opacity at the start."""
    sh_degree: int = 0
    """Degree of view-dependent colour, 0 to 3. Distillation gains nothing from a higher one: view-dependent light hides errors of shape."""
    rates: RateConfig = RateConfig()
    regularisers: RegulariserConfig = RegulariserConfig()

    def __post_init__(self) -> None:
        within("count", self.count, "[1, inf)")
        within("radius", self.radius, "(0, inf)")
        within("opacity", self.opacity, "(0, 1)")
        within("sh_degree", self.sh_degree, "[0, 3]")


class Gaussians:
    """N splats, their optimisers, and how they are drawn. Parameters: means, scales (log), quats, opacities (logit), sh0, shN."""

    def __init__(self, params: dict[str, Tensor], config: GaussianConfig):
        self.config = config
        self.params = nn.ParameterDict({k: nn.Parameter(v.contiguous()) for k, v in params.items()})
        # eps is far below Adam's default because a splat that few pixels see has tiny gradients, and still has to move.
        self.optimizers = {k: torch.optim.Adam([p], lr=1e-3, eps=1e-15) for k, p in self.params.items()}

    @staticmethod
    def blob(config: GaussianConfig, seed: int, device: str = "cpu") -> "Gaussians":
        """A grey, half-transparent ball of splats around the origin."""
        gen = rng.generator(seed, "start blob")
        n = config.count
        direction = nn.functional.normalize(torch.randn(n, 3, generator=gen), dim=1)
        means = direction * config.radius * torch.rand(n, 1, generator=gen) ** (1 / 3)
        spacing = config.radius * (4 * math.pi / 3 / n) ** (1 / 3)
        params = {
            "means": means,
            "scales": torch.full((n, 3), math.log(0.7 * spacing)),
            "quats": nn.functional.normalize(torch.randn(n, 4, generator=gen), dim=1),
            "opacities": torch.full((n,), math.log(config.opacity / (1 - config.opacity))),
            "sh0": 0.2 * torch.randn(n, 1, 3, generator=gen),
            "shN": torch.zeros(n, (config.sh_degree + 1) ** 2 - 1, 3),
        }
        return Gaussians({k: v.to(device) for k, v in params.items()}, config)

    def __len__(self) -> int:
        return len(self.params["means"])

    def splats(self) -> Splats:
        """Activated values, differentiable."""
        p = self.params
        sh = torch.cat([p["sh0"], p["shN"]], dim=1) if p["shN"].shape[1] else p["sh0"]
        return Splats(p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), sh)

    def render(self, cameras: Cameras, background: Tensor | None, normals: bool = False) -> Render:
        """See `raster.rasterize`."""
        return rasterize(self.splats(), cameras, background, normals)

    def regulariser(self, out: Render, progress: float) -> Tensor:
        """The weighted sum of all regularisers, a scalar."""
        c, p = self.config.regularisers, self.params
        total = c.outside * (p["means"].norm(dim=1) - 0.97).clamp_min(0).square().mean()
        if weight := c.sparsity(progress):
            total = total + weight * sparsity(out.alpha)
        if weight := c.opaque(progress):
            total = total + weight * opaque(out.alpha)
        if c.big or c.needle:
            axes = p["scales"].sort(dim=1, descending=True).values
            total = total + c.big * (axes[:, 0].exp() - c.big_from).clamp_min(0).mean()
            total = total + c.needle * (axes[:, 0] - axes[:, 1] - c.needle_from).clamp_min(0).mean()
        return total

    def optimise(self, progress: float, share: float) -> None:
        """One Adam step on the gradients at hand, at the rates of this moment; gradients are cleared.

        `share` is how much of the run the step is, see `RateConfig.iterations`.
        """
        rates = self.config.rates
        factor = rates.factor(share)
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = factor * getattr(rates, name)(progress)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def discard_gradients(self) -> None:
        """Forget the gradients at hand, for a step that is skipped."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)

    def whole(self) -> bool:
        """Whether every parameter has a row for every splat; false when a change was cut short."""
        return len({len(p) for p in self.params.values()}) == 1

    def state_tensors(self) -> dict[str, Tensor]:
        """Parameters and Adam's moments as a flat dictionary, for a checkpoint."""
        return {f"params.{k}": v.detach() for k, v in self.params.items()} | moments_of(self._named())

    def _named(self) -> Named:
        return {name: (self.params[name], optimizer) for name, optimizer in self.optimizers.items()}

    @staticmethod
    def from_state(tensors: dict[str, Tensor], config: GaussianConfig, device: str = "cpu") -> "Gaussians":
        """The inverse of `state_tensors`."""
        params = {k[7:]: v.to(device) for k, v in tensors.items() if k.startswith("params.")}
        made = Gaussians(params, config)
        put_moments(made._named(), tensors)
        return made
