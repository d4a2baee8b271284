"""3D Gaussians as optimizable parameters (Kerbl et al. 2023).

Scales are stored as logarithms, opacities as logits, rotations as quaternions, and colors as
spherical harmonics.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from gs3d.core import rng
from gs3d.core.cameras import Cameras
from gs3d.core.types import Render, Splats
from gs3d.raster import rasterize
from gs3d.representations.adam_state import Named, moments_of, put_moments
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.densify import Densifier, DensifyConfig, Optimizers
from gs3d.representations.regularizers import opaque, sparsity


class Gaussians:
    """A `Representation`: N splats with their optimizers and an optional densifier.

    `params` holds means [N, 3], scales (log) [N, 3], quats [N, 4], opacities (logit) [N],
    sh0 [N, 1, 3] and shN [N, K − 1, 3], where K = (degree + 1)².
    """

    counts: ClassVar[str] = "splats"

    def __init__(
        self,
        params: dict[str, Tensor],
        config: GaussianConfig,
        densify: DensifyConfig | None = None,
    ):
        """Keep the number of splats constant if `densify` is None."""
        self.config = config
        self.densifier = None if densify is None else Densifier(densify)
        self.params = nn.ParameterDict({k: nn.Parameter(v.contiguous()) for k, v in params.items()})
        # eps is far below Adam's default: a splat that covers few pixels has tiny gradients but
        # still has to move.
        self.optimizers: Optimizers = {
            k: torch.optim.Adam([p], lr=1e-3, eps=1e-15) for k, p in self.params.items()
        }

    @staticmethod
    def blob(
        config: GaussianConfig,
        seed: int,
        device: str = "cpu",
        densify: DensifyConfig | None = None,
    ) -> "Gaussians":
        """Return a semi-transparent gray ball of splats around the origin."""
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
        return Gaussians({k: v.to(device) for k, v in params.items()}, config, densify)

    def __len__(self) -> int:
        return len(self.params["means"])

    def splats(self) -> Splats:
        """Return the activated values (linear scales, opacities in [0, 1]), differentiable."""
        p = self.params
        sh = torch.cat([p["sh0"], p["shN"]], dim=1) if p["shN"].shape[1] else p["sh0"]
        return Splats(p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), sh)

    @property
    def device(self) -> torch.device:
        return self.params["means"].device

    def render(
        self,
        cameras: Cameras,
        background: Tensor | None,
        progress: float = 1.0,
        gen: torch.Generator | None = None,
        normals: bool = False,
    ) -> Render:
        """Render with `raster.rasterize`; `progress` and `gen` have no effect."""
        return rasterize(self.splats(), cameras, background, normals)

    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self.params.values() if p.grad is not None]

    def regularizer(self, out: Render, progress: float) -> Tensor:
        """Return the weighted sum of all regularizers, a scalar."""
        c, p = self.config.regularizers, self.params
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

    def optimize(self, progress: float, share: float) -> None:
        """Take one Adam step at the rates of `progress`, then clear the gradients.

        `share` is the fraction of the run that this step covers; see `RateConfig.iterations`.
        """
        rates = self.config.rates
        factor = rates.factor(share)
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = factor * getattr(rates, name)(progress)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def after_step(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """Densify and prune if a round is due between progress `before` and `now`."""
        if self.densifier is not None:
            self.densifier.after_backward(
                self.params, self.optimizers, out.aux, before, now, seed, step
            )

    def discard_gradients(self) -> None:
        """Clear the current gradients, for a step that is skipped."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)

    def is_consistent(self) -> bool:
        """Return whether all parameters have the same number of rows.

        They do not if densification was interrupted.
        """
        return len({len(p) for p in self.params.values()}) == 1

    def state_tensors(self) -> dict[str, Tensor]:
        """Return parameters, Adam's moments and the densifier's statistics, for a checkpoint."""
        parameters = {f"params.{k}": v.detach() for k, v in self.params.items()}
        statistics = {} if self.densifier is None else self.densifier.state_tensors()
        return parameters | moments_of(self._optimized()) | statistics

    def _optimized(self) -> Named:
        return {name: (self.params[name], optimizer) for name, optimizer in self.optimizers.items()}

    @staticmethod
    def from_state(
        tensors: dict[str, Tensor],
        config: GaussianConfig,
        device: str = "cpu",
        densify: DensifyConfig | None = None,
    ) -> "Gaussians":
        """Create splats from the tensors that `state_tensors` returned."""
        params = {k[7:]: v.to(device) for k, v in tensors.items() if k.startswith("params.")}
        restored = Gaussians(params, config, densify)
        put_moments(restored._optimized(), tensors)
        if restored.densifier is not None:
            restored.densifier.load_state(tensors, device)
        return restored
