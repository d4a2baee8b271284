"""A radiance field in the unit sphere: rendering, lighting, regularizers and optimization.

Compositing follows Mildenhall et al. 2020; lighting, orientation and opacity regularizers follow
DreamFusion (Poole et al. 2022, App. A); the initial density follows Magic3D (Lin et al. 2023). The
field itself is in `field.py`, the sampling of rays in `rays.py`.
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.cameras import Cameras, rays
from gs3d.core.runtime.transfer import moved
from gs3d.core.types import Render
from gs3d.representations.adam import Adam, Named, moments_of, put_moments
from gs3d.representations.nerf.background import BackgroundNetwork
from gs3d.representations.nerf.config import NerfConfig
from gs3d.representations.nerf.field import Field
from gs3d.representations.nerf.occupancy import Occupancy
from gs3d.representations.nerf.rays import compositing_weights, sample_rays
from gs3d.representations.regularizers import opaque, sparsity

EMPTY_ALPHA = 0.004
"""Occupancy threshold: the alpha of a voxel over one step of a ray through the center of the
sphere. Voxels below it are skipped."""


class Nerf:
    """A `Representation`: a field, its occupancy grid, a learned background and an optimizer."""

    counts: ClassVar[str] = "occupied_voxels"

    def __init__(self, config: NerfConfig, seed: int, device: str = "cpu"):
        self.config = config
        self.field = Field(config.field, rng.generator(seed, "field")).to(device)
        self.background_network = (
            BackgroundNetwork(rng.generator(seed, "sky")).to(device)
            if config.background_network
            else None
        )
        self.occupancy = Occupancy(config.occupancy_resolution, device)
        networks = [p for name, p in self._parameters().items() if name != "table"]
        self.optimizer = Adam([[self.field.table], networks], betas=(0.9, 0.99))

    @property
    def device(self) -> torch.device:
        return self.field.table.device

    def _light(
        self, cameras: Cameras, progress: float, gen: torch.Generator | None
    ) -> tuple[Tensor | None, bool]:
        """Draw the lighting of an iteration.

        Returns the direction [B, 3] to the light of each camera, or None without light, and whether
        the albedo is white.
        """
        light = self.config.light
        if gen is None or progress < light.start or not light.lambert + light.textureless:
            return None, False
        u = float(torch.rand((), generator=gen))
        if u >= light.lambert + light.textureless:
            return None, False
        offsets = torch.randn(len(cameras), 3, generator=gen)
        near_camera = cameras.centers + moved(offsets, self.device)
        return functional.normalize(near_camera, dim=1), u < light.textureless

    def render(
        self,
        cameras: Cameras,
        background: Tensor,
        progress: float = 1.0,
        gen: torch.Generator | None = None,
        normals: bool = False,
    ) -> Render:
        """Render B images over `background`: [3], or [B, 3] for one color per camera.

        With a generator, sample positions, lighting and the use of the learned background are
        random. Without it, samples lie at segment centers, and there is no lighting and no learned
        background. If normals are computed, `aux["facing_away"]` is the mean of the orientation
        term.
        """
        views, height, width = len(cameras), cameras.height, cameras.width
        directions, z_per_distance = rays(cameras)
        samples = sample_rays(cameras, directions, self.occupancy, self.config.samples, gen)
        light, white = self._light(cameras, progress, gen)
        normals = normals or light is not None or self.config.needs_normals(progress)
        sample = self.field(samples.points, progress, normals)
        density = torch.zeros(samples.distances.numel(), device=self.device).index_copy(
            0, samples.index, sample.density
        )
        weights = compositing_weights(density.view_as(samples.distances), samples.step)
        # The backward pass of weights[...] sorts all indices; that of index_select adds them up.
        weight, ray = weights.flatten().index_select(0, samples.index), samples.ray

        def composited(values: Tensor) -> Tensor:
            total = torch.zeros(views * height * width, values.shape[1], device=self.device)
            return total.index_add(0, ray, weight[:, None] * values).view(views, height, width, -1)

        color = sample.albedo
        if light is not None:
            ambient = self.config.light.ambient
            lit = (sample.normal * light[ray // (height * width)]).sum(1, keepdim=True).clamp_min(0)
            color = (torch.ones_like(color) if white else color) * (ambient + (1 - ambient) * lit)
        alpha = weights.sum(1).view(views, height, width, 1)
        behind = background.to(self.device).expand(views, 3)[:, None, None]
        if (
            self.background_network is not None
            and gen is not None
            and float(torch.rand((), generator=gen)) < self.config.background_network
        ):
            behind = self.background_network(directions)
        depth = (
            (weights * samples.distances).sum(1).view_as(alpha)
            / alpha.clamp_min(1e-6)
            * z_per_distance[..., None]
        )
        aux = {}
        if normals:
            away = (sample.normal * directions.flatten(0, 2)[ray]).sum(1).clamp_min(0)
            aux["facing_away"] = (weight.detach() * away**2).sum() / (views * height * width)
        return Render(
            composited(color) + (1 - alpha) * behind,
            alpha,
            depth,
            composited(sample.normal) if normals else None,
            aux,
        )

    def regularizer(self, out: Render, progress: float) -> Tensor:
        """Return the weighted sum of all regularizers, a scalar."""
        r, total = self.config.regularizers, torch.zeros((), device=self.device)
        if weight := r.orientation(progress):
            total = total + weight * out.aux["facing_away"]
        if weight := r.smooth(progress):
            assert out.normal is not None
            total = total + weight * (
                out.normal.diff(dim=1).square().mean() + out.normal.diff(dim=2).square().mean()
            )
        if weight := r.sparsity(progress):
            total = total + weight * sparsity(out.alpha)
        if weight := r.opaque(progress):
            total = total + weight * opaque(out.alpha)
        return total

    @torch.no_grad()
    def update_occupancy(self, progress: float, gen: torch.Generator) -> None:
        """Update the occupancy grid with the current densities of the field."""
        points, step = self.occupancy.points(gen), 2 / self.config.samples
        density = torch.cat(
            [self.field(part, progress, colors=False).density for part in points.split(65536)]
        )
        self.occupancy.update(density, EMPTY_ALPHA / step)

    def __len__(self) -> int:
        """Return the number of occupied voxels."""
        return self.occupancy.count()

    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self._parameters().values() if p.grad is not None]

    def _parameters(self) -> dict[str, torch.nn.Parameter]:
        background = (
            {}
            if self.background_network is None
            else {
                f"background_network.{name}": p
                for name, p in self.background_network.named_parameters()
            }
        )
        return dict(self.field.named_parameters()) | background

    def after_step(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """Update the occupancy grid in every `occupancy_every`-th iteration."""
        if step % self.config.occupancy_every == 0:
            self.update_occupancy(now, rng.generator(seed, "occupancy", step))

    def discard_gradients(self) -> None:
        self.optimizer.zero_grad()

    def is_consistent(self) -> bool:
        return True

    def state_tensors(self) -> dict[str, Tensor]:
        parameters = {f"params.{name}": p.detach() for name, p in self._parameters().items()}
        grid = {
            "occupancy.density": self.occupancy.density,
            "occupancy.occupied": self.occupancy.occupied,
        }
        return parameters | moments_of(self._optimized()) | grid

    def _optimized(self) -> Named:
        return {name: (p, self.optimizer) for name, p in self._parameters().items()}

    @staticmethod
    def from_state(tensors: dict[str, Tensor], config: NerfConfig, device: str = "cpu") -> "Nerf":
        """Create a field from the tensors that `state_tensors` returned."""
        restored = Nerf(config, 0, device)
        with torch.no_grad():
            for name, p in restored._parameters().items():
                p.copy_(tensors[f"params.{name}"])
        restored.occupancy.density, restored.occupancy.occupied = (
            tensors[f"occupancy.{k}"].to(device) for k in ("density", "occupied")
        )
        put_moments(restored._optimized(), tensors)
        return restored

    def optimize(self, progress: float, share: float) -> None:
        """Take one Adam step at the rates of `progress`, then clear the gradients."""
        table, networks = self.optimizer.param_groups
        table["lr"], networks["lr"] = (
            self.config.table_rate(progress),
            self.config.network_rate(progress),
        )
        self.optimizer.step()
        self.optimizer.zero_grad()
