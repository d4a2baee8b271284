"""3D Gaussians as optimizable parameters (Kerbl et al. 2023).

Scales are stored as logarithms, opacities as logits, rotations as quaternions, and colors as
spherical harmonics.
"""

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from gs3d.core import rng
from gs3d.core.cameras import Cameras
from gs3d.core.types import Render, Splats
from gs3d.raster import BLUR_PX2, rasterize
from gs3d.representations.adam import Adam, Named, moments_of, put_moments
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.densify import Densifier, DensifyConfig, Optimizers
from gs3d.representations.gaussians.existing import parameters_of
from gs3d.representations.gaussians.smoothing import smoothed
from gs3d.representations.gaussians.surroundings import surroundings
from gs3d.representations.regularizers import opaque, sparsity


class Gaussians:
    """A `Representation`: N splats with their optimizers and an optional densifier.

    Rendered and saved are the splats widened by the 3D smoothing filter (`splats`).

    `params` holds means [N, 3], scales (log) [N, 3], quats [N, 4], opacities (logit) [N],
    sh0 [N, 1, 3] and shN [N, K − 1, 3], where K = (degree + 1)².
    """

    counts: ClassVar[str] = "splats"

    def __init__(
        self,
        params: dict[str, Tensor],
        config: GaussianConfig,
        densify: DensifyConfig | None = None,
        pixel_size: Callable[[float], float] | None = None,
    ):
        """Keep the number of splats constant if `densify` is None.

        `pixel_size` returns the width of a pixel at the object in world units, at a progress in
        [0, 1]. The width of the smoothing filter follows it; None applies no filter.
        """
        self.config = config
        self.pixel_size = pixel_size
        self.smoothing = self._smoothing_at(0.0)
        """Current width of the smoothing filter in world units; `optimize` updates it."""
        self.densifier = None if densify is None else Densifier(densify)
        self.params = nn.ParameterDict({k: nn.Parameter(v.contiguous()) for k, v in params.items()})
        self.optimizers: Optimizers = {k: Adam([[p]]) for k, p in self.params.items()}

    @staticmethod
    def blob(
        config: GaussianConfig,
        seed: int,
        device: str = "cpu",
        densify: DensifyConfig | None = None,
        pixel_size: Callable[[float], float] | None = None,
    ) -> "Gaussians":
        """Return a semi-transparent gray ball of splats around the origin, or the surroundings of
        a scene (`GaussianConfig.start`)."""
        gen = rng.generator(seed, "start blob")
        if config.start == "surroundings":
            params = {k: v.to(device) for k, v in surroundings(config, gen).items()}
            return Gaussians(params, config, densify, pixel_size)
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
        params = {k: v.to(device) for k, v in params.items()}
        return Gaussians(params, config, densify, pixel_size)

    @staticmethod
    def of(
        splats: Splats,
        config: GaussianConfig,
        densify: DensifyConfig | None = None,
        pixel_size: Callable[[float], float] | None = None,
        progress: float = 0.0,
    ) -> "Gaussians":
        """Return existing splats, to be optimized from `progress` on."""
        width = config.smoothing_px * pixel_size(progress) if pixel_size else 0.0
        parameters = parameters_of(splats, config.sh_degree, width)
        found = Gaussians(parameters, config, densify, pixel_size)
        found.smoothing = width
        return found

    def _smoothing_at(self, progress: float) -> float:
        return self.config.smoothing_px * self.pixel_size(progress) if self.pixel_size else 0.0

    @property
    def is_scene(self) -> bool:
        """Whether the splats surround the cameras."""
        return self.config.start == "surroundings"

    def __len__(self) -> int:
        return len(self.params["means"])

    def splats(self) -> Splats:
        """Return the filtered splats (linear scales, opacities in [0, 1]), differentiable."""
        p = self.params
        sh = torch.cat([p["sh0"], p["shN"]], dim=1) if p["shN"].shape[1] else p["sh0"]
        raw = Splats(p["means"], p["quats"], p["scales"].exp(), p["opacities"].sigmoid(), sh)
        return smoothed(raw, self.smoothing)

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
        """Render with `raster.rasterize`; `progress` and `gen` have no effect.

        The rasterizer adds only what the smoothing filter lacks of its usual blur, in the smallest
        pixel of the training renders. With both, the optimizer would sharpen the colors to make up
        for a blur that no viewer shows at a higher resolution.
        """
        pixels = self.config.smoothing_px if self.smoothing else 0.0
        blur_px2 = max(BLUR_PX2 - pixels**2, 0.0)
        return rasterize(self.splats(), cameras, background, normals, blur_px2)

    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self.params.values() if p.grad is not None]

    def regularizer(self, out: Render, progress: float) -> Tensor:
        """Return the weighted sum of all regularizers, a scalar."""
        c, p = self.config.regularizers, self.params
        outside = 0.0 if self.is_scene else c.outside
        total = outside * (p["means"].norm(dim=1) - 0.97).clamp_min(0).square().mean()
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
        before = self.params["means"].detach().clone() if self.is_scene else None
        for name, optimizer in self.optimizers.items():
            optimizer.param_groups[0]["lr"] = factor * getattr(rates, name)(progress)
            optimizer.step()
            optimizer.zero_grad()
        if before is not None:
            # What is twice as far away has to move twice as far for the same change of a picture.
            means = self.params["means"].data
            means.copy_(before + (means - before) * before.norm(dim=1, keepdim=True))
        self.smoothing = self._smoothing_at(progress)

    def after_step(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """Densify and prune if a round is due between progress `before` and `now`."""
        if self.densifier is not None:
            self.densifier.after_backward(
                self.params, self.optimizers, out.aux, before, now, seed, step
            )

    def discard_gradients(self) -> None:
        """Clear the current gradients, for a step that is skipped."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    def is_consistent(self) -> bool:
        """Return whether all parameters have the same number of rows.

        They do not if densification was interrupted.
        """
        return len({len(p) for p in self.params.values()}) == 1

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the unfiltered parameters, the width of the filter, Adam's moments and the
        densifier's statistics, for a checkpoint."""
        parameters = {f"params.{k}": v.detach() for k, v in self.params.items()}
        # Without a filter there is no entry, as in checkpoints from before it existed.
        width = torch.tensor(self.smoothing, dtype=torch.float64)
        smoothing = {"smoothing": width} if self.pixel_size else {}
        statistics = {} if self.densifier is None else self.densifier.state_tensors()
        return parameters | smoothing | moments_of(self._optimized()) | statistics

    def _optimized(self) -> Named:
        return {name: (self.params[name], optimizer) for name, optimizer in self.optimizers.items()}

    @staticmethod
    def from_state(
        tensors: dict[str, Tensor],
        config: GaussianConfig,
        device: str = "cpu",
        densify: DensifyConfig | None = None,
        pixel_size: Callable[[float], float] | None = None,
    ) -> "Gaussians":
        """Create splats from the tensors that `state_tensors` returned.

        A checkpoint from before the filter existed has no width; its run continues without one.
        """
        params = {k[7:]: v.to(device) for k, v in tensors.items() if k.startswith("params.")}
        if "smoothing" not in tensors:
            pixel_size = None
        restored = Gaussians(params, config, densify, pixel_size)
        if "smoothing" in tensors:
            restored.smoothing = float(tensors["smoothing"])
        put_moments(restored._optimized(), tensors)
        if restored.densifier is not None:
            restored.densifier.load_state(tensors, device)
        return restored
