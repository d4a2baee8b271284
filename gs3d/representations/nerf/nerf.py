"""A radiance field in the unit sphere: rays, samples, compositing, what keeps it tidy, and its optimizer.

Mildenhall et al. 2020 for the compositing; DreamFusion (Poole et al. 2022, App. A) for light, orientation and opacity; Magic3D (Lin et
al. 2023) for the start; the field itself is in `field.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.cameras import Cameras, rays
from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.core.types import Render
from gs3d.representations.adam_state import Named, moments_of, put_moments
from gs3d.representations.nerf.background import BackgroundNetwork
from gs3d.representations.nerf.field import Field, FieldConfig
from gs3d.representations.nerf.occupancy import Occupancy
from gs3d.representations.regularizers import opaque, sparsity

EMPTY_ALPHA = 0.004
"""A cell of the occupancy grid whose density hides less than this over one step of a ray through the middle is left out."""


@dataclass(frozen=True)
class LightConfig:
    """How often an iteration sees the object lit by a random light, so that its shape cannot hide behind painted shadows."""

    lambert: float = 0.0
    """Share of the iterations lit by a light near the camera: albedo × (ambient + diffuse · max(0, n·l))."""
    textureless: float = 0.0
    """Share lit so, with the albedo white."""
    start: float = 0.1
    """Progress before which there is none of either: normals mean nothing yet."""
    ambient: float = 0.1

    def __post_init__(self) -> None:
        within("lambert", self.lambert, "[0, 1]")
        within("textureless", self.textureless, "[0, 1]")
        within("lambert + textureless", self.lambert + self.textureless, "[0, 1]")
        within("ambient", self.ambient, "[0, 1]")


@dataclass(frozen=True)
class NerfRegularizers:
    """Weights of what keeps a field tidy; each term is a mean, so they do not depend on size."""

    orientation: Ramp = Ramp(0.0, 0.0)
    """Σ w·max(0, n·d)² over a ray of direction d: what is seen faces the camera (Verbin et al. 2022, Eq. 11). The weights w are constants
    to it (DreamFusion, App. A): vanishing is no way to face the camera."""
    smooth: Ramp = Ramp(0.0, 0.0)
    """Squared difference of neighboring pixels' normals (Consistent3D, App. A)."""
    sparsity: Ramp = Ramp(0.0, 0.0)
    opaque: Ramp = Ramp(0.0, 0.0)

    def __post_init__(self) -> None:
        for name in ("orientation", "smooth", "sparsity", "opaque"):
            within(name, getattr(self, name).ends, "[0, inf)")


@dataclass(frozen=True)
class NerfConfig:
    """The field, how it is looked at, and how it is optimized."""

    field: FieldConfig = FieldConfig()
    samples: int = 64
    """Along the part of a ray inside the unit sphere, one at random in each equal piece."""
    occupancy_resolution: int = 64
    """Along an edge of the grid of what is empty."""
    occupancy_every: int = 16
    """Iterations between two looks at it."""
    light: LightConfig = LightConfig()
    background_network: float = 0.0
    """Share of the iterations in front of a background that is learnt, a color for each direction; the others have the stage's, lest the
    object be painted there. It is left out of all that a run leaves."""
    regularizers: NerfRegularizers = NerfRegularizers()
    table_rate: Ramp = Ramp(1e-2, 1e-3, "exp")
    """Adam's, for the hash grid."""
    network_rate: Ramp = Ramp(1e-3, 1e-4, "exp")
    """For the networks."""

    def __post_init__(self) -> None:
        for name, low in (("samples", 2), ("occupancy_resolution", 1), ("occupancy_every", 1)):
            within(name, getattr(self, name), f"[{low}, inf)")
        within("background_network", self.background_network, "[0, 1]")
        for name in ("table_rate", "network_rate"):
            within(name, getattr(self, name).ends, "[0, inf)")

    def needs_normals(self, progress: float) -> bool:
        r = self.regularizers
        return bool(r.orientation(progress) or r.smooth(progress))


@dataclass(frozen=True)
class Samples:
    """The samples of R rays that lie where something may be, M in all."""

    points: Tensor
    """[M, 3]."""
    place: Tensor
    """[M] long: ray · S + position on the ray."""
    way: Tensor
    """[R, S] distance from the camera of all S samples of a ray."""
    step: Tensor
    """[R, 1] length of way that a sample stands for; 0 for a ray that misses the sphere."""

    @property
    def ray(self) -> Tensor:
        """[M] long."""
        return self.place // self.way.shape[1]


def through_sphere(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays [R, 3] enter and leave the unit sphere, [R] each; both the same for those that miss it or leave it behind."""
    along = (origins * directions).sum(1)
    room = along**2 - origins.square().sum(1) + 1
    half = room.clamp_min(0).sqrt()
    near = (-along - half).clamp_min(0)
    return near, torch.maximum(-along + half, near)


def weights_of(density: Tensor, step: Tensor) -> Tensor:
    """density [R, S], step [R, 1] → how much of each sample a camera sees, [R, S]: (1 − e^−σδ) · e^−Σσδ of those before."""
    thickness = density * step
    before = functional.pad(thickness.cumsum(1)[:, :-1], (1, 0))
    return -torch.expm1(-thickness) * torch.exp(-before)


class Nerf:
    """A `Representation`: a field with its occupancy, what is behind it, and its optimizer."""

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
        self.optimizer = torch.optim.Adam(
            [{"params": [self.field.table]}, {"params": networks}],
            lr=1e-3,
            betas=(0.9, 0.99),
            eps=1e-15,
        )

    @property
    def device(self) -> torch.device:
        return self.field.table.device

    def _march(self, cameras: Cameras, directions: Tensor, gen: torch.Generator | None) -> Samples:
        size, count = directions.shape[1] * directions.shape[2], self.config.samples
        origins, directions = cameras.centers.repeat_interleave(size, 0), directions.flatten(0, 2)
        near, far = through_sphere(origins, directions)
        step = (far - near)[:, None] / count
        within_piece = (
            torch.full((1, count), 0.5)
            if gen is None
            else torch.rand(len(near), count, generator=gen)
        )
        way = near[:, None] + step * (
            torch.arange(count, device=near.device) + within_piece.to(near.device)
        )
        points = origins[:, None] + way[..., None] * directions[:, None]
        seen = (self.occupancy.at(points) & (step > 0)).flatten()
        place = seen.nonzero()[:, 0]
        return Samples(points.flatten(0, 1)[place], place, way, step)

    def _light(
        self, cameras: Cameras, progress: float, gen: torch.Generator | None
    ) -> tuple[Tensor | None, bool]:
        """Directions [B, 3] to the light of each camera, or None for none; and whether the albedo is white."""
        light = self.config.light
        if gen is None or progress < light.start or not light.lambert + light.textureless:
            return None, False
        u = float(torch.rand((), generator=gen))
        if u >= light.lambert + light.textureless:
            return None, False
        near_camera = cameras.centers + torch.randn(len(cameras), 3, generator=gen).to(self.device)
        return functional.normalize(near_camera, dim=1), u < light.textureless

    def render(
        self,
        cameras: Cameras,
        background: Tensor,
        progress: float = 1.0,
        gen: torch.Generator | None = None,
        normals: bool = False,
    ) -> Render:
        """B pictures over `background`, [3] or one a camera [B, 3]. With a generator: samples at random places, and light at random.

        `aux` has "facing_away", the mean of the orientation term, where normals are computed.
        """
        views, height, width = len(cameras), cameras.height, cameras.width
        directions, z_per_way = rays(cameras)
        samples = self._march(cameras, directions, gen)
        light, white = self._light(cameras, progress, gen)
        normals = normals or light is not None or self.config.needs_normals(progress)
        said = self.field(samples.points, progress, normals)
        dense = torch.zeros(samples.way.numel(), device=self.device).index_copy(
            0, samples.place, said.density
        )
        weights = weights_of(dense.view_as(samples.way), samples.step)
        seen, ray = weights.flatten()[samples.place], samples.ray

        def summed(values: Tensor) -> Tensor:
            total = torch.zeros(views * height * width, values.shape[1], device=self.device)
            return total.index_add(0, ray, seen[:, None] * values).view(views, height, width, -1)

        color = said.albedo
        if light is not None:
            ambient = self.config.light.ambient
            lit = (said.normal * light[ray // (height * width)]).sum(1, keepdim=True).clamp_min(0)
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
            (weights * samples.way).sum(1).view_as(alpha)
            / alpha.clamp_min(1e-6)
            * z_per_way[..., None]
        )
        aux = {}
        if normals:
            away = (said.normal * directions.flatten(0, 2)[ray]).sum(1).clamp_min(0)
            aux["facing_away"] = (seen.detach() * away**2).sum() / (views * height * width)
        return Render(
            summed(color) + (1 - alpha) * behind,
            alpha,
            depth,
            summed(said.normal) if normals else None,
            aux,
        )

    def regularizer(self, out: Render, progress: float) -> Tensor:
        """The weighted sum of all regularizers, a scalar."""
        r, total = self.config.regularizers, torch.zeros((), device=self.device)
        if weight := r.orientation(progress):
            total = total + weight * out.aux["facing_away"]
        if weight := r.smooth(progress):
            total = total + weight * (
                out.normal.diff(dim=1).square().mean() + out.normal.diff(dim=2).square().mean()
            )
        if weight := r.sparsity(progress):
            total = total + weight * sparsity(out.alpha)
        if weight := r.opaque(progress):
            total = total + weight * opaque(out.alpha)
        return total

    @torch.no_grad()
    def look_around(self, progress: float, gen: torch.Generator) -> None:
        """Bring the occupancy up to date with the field."""
        points, step = self.occupancy.points(gen), 2 / self.config.samples
        density = torch.cat(
            [self.field(part, progress, colors=False).density for part in points.split(65536)]
        )
        self.occupancy.render_views(density, EMPTY_ALPHA / step)

    def __len__(self) -> int:
        """Cells of the grid that are not empty."""
        return int(self.occupancy.occupied.sum())

    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self._parameters().values() if p.grad is not None]

    def _parameters(self) -> dict[str, torch.nn.Parameter]:
        of_sky = (
            {}
            if self.background_network is None
            else {
                f"background_network.{name}": p
                for name, p in self.background_network.named_parameters()
            }
        )
        return dict(self.field.named_parameters()) | of_sky

    def after_step(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """Look around in every `occupancy_every`th iteration."""
        if step % self.config.occupancy_every == 0:
            self.look_around(now, rng.generator(seed, "occupancy", step))

    def discard_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def is_consistent(self) -> bool:
        return True

    def state_tensors(self) -> dict[str, Tensor]:
        parameters = {f"params.{name}": p.detach() for name, p in self._parameters().items()}
        grid = {
            "occupancy.density": self.occupancy.density,
            "occupancy.occupied": self.occupancy.occupied,
        }
        return parameters | moments_of(self._named()) | grid

    def _named(self) -> Named:
        return {name: (p, self.optimizer) for name, p in self._parameters().items()}

    @staticmethod
    def from_state(tensors: dict[str, Tensor], config: NerfConfig, device: str = "cpu") -> "Nerf":
        """The inverse of `state_tensors`."""
        made = Nerf(config, 0, device)
        with torch.no_grad():
            for name, p in made._parameters().items():
                p.copy_(tensors[f"params.{name}"])
        made.occupancy.density, made.occupancy.occupied = (
            tensors[f"occupancy.{k}"].to(device) for k in ("density", "occupied")
        )
        put_moments(made._named(), tensors)
        return made

    def optimize(self, progress: float, share: float) -> None:
        """One Adam step on the gradients at hand, at the rates of this moment; gradients are cleared."""
        table, networks = self.optimizer.param_groups
        table["lr"], networks["lr"] = (
            self.config.table_rate(progress),
            self.config.network_rate(progress),
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
