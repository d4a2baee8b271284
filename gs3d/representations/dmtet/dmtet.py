"""A closed surface that can be optimized: signed distances on a grid of tetrahedra, corners that move a little, and a color field.

After DMTet (Shen et al. 2021); here distances are negative inside. The shape learns from silhouettes and from `Render.normal`: colors
are looked up at the surface as it stands, and move nothing.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.cameras import Cameras
from gs3d.core.checks import within
from gs3d.core.schedules import Ramp
from gs3d.core.types import Render
from gs3d.representations.adam_state import Named, moments_of, put_moments
from gs3d.representations.dmtet.tets import TetGrid, marching_tetrahedra, tet_grid
from gs3d.representations.meshing.triangles import (
    Edges,
    antialias,
    edges_of,
    fragments,
    interpolated,
)
from gs3d.representations.nerf.field import Field, FieldConfig

SMALLEST = 1e-7
"""Twice the area of a triangle that still has a say about smoothness: less, and its normal turns round at a touch."""


@dataclass(frozen=True)
class DmtetRegularizers:
    """Weights of what keeps a surface smooth; each term is a mean."""

    consistency: Ramp = Ramp(0.0, 0.0)
    """1 − n·n′ of the two triangles at an edge, by its length."""
    laplacian: Ramp = Ramp(0.0, 0.0)
    """Squared distance of a point from the mean of its neighbors, in cells."""

    def __post_init__(self) -> None:
        for name in ("consistency", "laplacian"):
            within(name, getattr(self, name).ends, "[0, inf)")


@dataclass(frozen=True)
class DmtetConfig:
    """The grid, its colors, and how both are optimized."""

    resolution: int = 64
    """Along an edge of the cube from −1 to 1."""
    max_offset: float = 0.45
    """Most that a corner of the grid moves along an axis, in cells."""
    field: FieldConfig = field(default_factory=FieldConfig)
    """Of the colors; all its levels are open. A surface that begins as a field takes that of the field."""
    regularizers: DmtetRegularizers = DmtetRegularizers()
    distance_rate: Ramp = Ramp(0.15, 0.02, "exp")
    """Adam's, in cells."""
    offset_rate: Ramp = Ramp(2e-2, 5e-3, "exp")
    table_rate: Ramp = Ramp(1e-2, 1e-3, "exp")
    network_rate: Ramp = Ramp(1e-3, 1e-4, "exp")

    def __post_init__(self) -> None:
        within("resolution", self.resolution, "[2, 256]")
        within("max_offset", self.max_offset, "[0, 0.5)")
        for name in ("distance_rate", "offset_rate", "table_rate", "network_rate"):
            within(name, getattr(self, name).ends, "[0, inf)")


@dataclass(frozen=True)
class SurfaceMesh:
    """The surface of this moment."""

    points: Tensor
    """[P, 3], with gradient."""
    faces: Tensor
    """[F, 3] long."""
    edges: Edges
    face_normals: Tensor
    """[F, 3] of unit length."""
    areas: Tensor
    """[F] twice the triangles' areas."""
    normals: Tensor
    """[P, 3] of unit length: the mean of the faces at a point, by their area."""


class Dmtet:
    """A `Representation`: `distance` [V] in cells, and `offset` [V, 3], whose tanh is how far each corner has moved."""

    counts: ClassVar[str] = "inner_vertices"

    def __init__(self, config: DmtetConfig, distance: Tensor, colors: Field):
        self.config = config
        self.grid: TetGrid = tet_grid(config.resolution).to(distance.device)
        self.distance = torch.nn.Parameter(distance.clone())
        self.offset = torch.nn.Parameter(torch.zeros_like(self.grid.vertices))
        self.colors = colors
        networks = [p for name, p in colors.named_parameters() if name != "table"]
        groups = [[self.distance], [self.offset], [colors.table], networks]
        self.optimizer = torch.optim.Adam(
            [{"params": g} for g in groups], lr=1e-3, betas=(0.9, 0.99), eps=1e-15
        )

    @staticmethod
    def ball(config: DmtetConfig, radius: float, seed: int, device: str = "cpu") -> "Dmtet":
        vertices = tet_grid(config.resolution).vertices.to(device)
        distance = ball_distance(vertices, config.resolution, radius)
        return Dmtet(
            config, distance, Field(config.field, rng.generator(seed, "colours")).to(device)
        )

    def surface_mesh(self) -> SurfaceMesh:
        """The surface: closed, whatever the parameters are; without points where no corner is inside."""
        corners = self.grid.vertices + self.offset.tanh() * (
            self.config.max_offset * 2 / self.config.resolution
        )
        # Held outside on the border of the cube, so that the surface ends nowhere.
        distance = torch.where(self.grid.border, self.distance.clamp_min(0.1), self.distance)
        points, faces = marching_tetrahedra(corners, distance, self.grid.tets)
        a, b, c = points[faces].unbind(1)
        area = torch.linalg.cross(b - a, c - a)
        summed = torch.zeros_like(points)
        for corner in range(3):
            summed = summed.index_add(0, faces[:, corner], area)
        face_normals, normals = (
            functional.normalize(area, dim=1),
            functional.normalize(summed, dim=1),
        )
        return SurfaceMesh(points, faces, edges_of(faces), face_normals, area.norm(dim=1), normals)

    def render(
        self,
        cameras: Cameras,
        background: Tensor,
        progress: float = 1.0,
        gen: torch.Generator | None = None,
        normals: bool = False,
    ) -> Render:
        """B pictures over `background`, [3] or one a camera [B, 3], always with normals; `aux` has the "skin" that they show.

        Where normals are asked for, colors have no gradient.
        """
        surface_mesh = self.surface_mesh()
        # Whoever looks at the normals alone must not move the colors: a gradient of zeros is none to an optimizer with momentum.
        with_colors = torch.is_grad_enabled() and not normals
        views = [self._view(surface_mesh, cameras, i, with_colors) for i in range(len(cameras))]
        rgb, alpha, normal, depth = (torch.stack(pictures) for pictures in zip(*views, strict=True))
        behind = background.to(rgb.device).expand(len(cameras), 3)[:, None, None]
        return Render(
            rgb + (1 - alpha) * behind, alpha, depth, normal, {"surface_mesh": surface_mesh}
        )

    def _view(
        self, surface_mesh: SurfaceMesh, cameras: Cameras, view: int, with_colors: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Color and normal, both premultiplied by alpha, alpha, and depth: [H, W, 3 or 1]."""
        seen = fragments(surface_mesh.points, surface_mesh.faces, cameras, view)
        covered = (seen.face >= 0)[..., None]
        alpha = covered.to(surface_mesh.points.dtype)
        color = torch.zeros(*seen.face.shape, 3, device=alpha.device)
        if covered.any():
            where = interpolated(surface_mesh.points.detach(), surface_mesh.faces, seen)[
                covered[..., 0]
            ].detach()
            with torch.set_grad_enabled(with_colors):
                albedo = self.colors.albedo(where)
            color = color.masked_scatter(covered, albedo)
        normal = functional.normalize(
            interpolated(surface_mesh.normals, surface_mesh.faces, seen), dim=-1
        )
        picture = antialias(
            torch.cat([color, normal, alpha], -1), seen, surface_mesh.faces, surface_mesh.edges
        )
        depth = torch.where(covered, seen.depth[..., None], 0.0)
        return picture[..., :3], picture[..., 6:], picture[..., 3:6], depth

    def regularizer(self, out: Render, progress: float) -> Tensor:
        """The weighted sum of all regularizers, a scalar."""
        r, surface_mesh, total = (
            self.config.regularizers,
            out.aux["surface_mesh"],
            torch.zeros((), device=self.distance.device),
        )
        if not len(surface_mesh.faces):
            return total
        if weight := r.consistency(progress):
            total = total + weight * _consistency(surface_mesh)
        if weight := r.laplacian(progress):
            ends = torch.cat([surface_mesh.edges.ends, surface_mesh.edges.ends.flip(1)])
            count = torch.zeros(len(surface_mesh.points), 1, device=total.device).index_add(
                0, ends[:, 0], torch.ones_like(ends[:, :1]).float()
            )
            mean = (
                torch.zeros_like(surface_mesh.points).index_add(
                    0, ends[:, 0], surface_mesh.points[ends[:, 1]]
                )
                / count
            )
            total = (
                total
                + weight
                * ((mean - surface_mesh.points) * (self.config.resolution / 2))
                .square()
                .sum(1)
                .mean()
            )
        return total

    def __len__(self) -> int:
        """Corners of the grid that are inside."""
        return int(((self.distance < 0) & ~self.grid.border).sum())

    @property
    def device(self) -> torch.device:
        return self.distance.device

    def gradients(self) -> list[Tensor]:
        return [p.grad for p, _ in self._named().values() if p.grad is not None]

    def after_step(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """Nothing: the grid stays as it is."""

    def discard_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def is_consistent(self) -> bool:
        return True

    def state_tensors(self) -> dict[str, Tensor]:
        return {
            f"params.{name}": p.detach() for name, (p, _) in self._named().items()
        } | moments_of(self._named())

    def _named(self) -> Named:
        own = {"distance": self.distance, "offset": self.offset}
        colors = {f"colors.{name}": p for name, p in self.colors.named_parameters()}
        return {name: (p, self.optimizer) for name, p in (own | colors).items()}

    @staticmethod
    def from_state(tensors: dict[str, Tensor], config: DmtetConfig, device: str = "cpu") -> "Dmtet":
        """The inverse of `state_tensors`."""
        colors = Field(config.field, rng.generator(0, "colours")).to(device)
        made = Dmtet(config, tensors["params.distance"].to(device), colors)
        with torch.no_grad():
            for name, (p, _) in made._named().items():
                p.copy_(tensors[f"params.{name}"])
        put_moments(made._named(), tensors)
        return made

    def optimize(self, progress: float, share: float) -> None:
        """One Adam step on the gradients at hand, at the rates of this moment; gradients are cleared."""
        c = self.config
        for group, rate in zip(
            self.optimizer.param_groups,
            (c.distance_rate, c.offset_rate, c.table_rate, c.network_rate),
            strict=True,
        ):
            group["lr"] = rate(progress)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def _consistency(surface_mesh: SurfaceMesh) -> Tensor:
    """Mean of 1 − n·n′ over edges by their length, without those at a triangle too small to have a normal worth the name: a scalar."""
    ends, faces = surface_mesh.points.detach()[surface_mesh.edges.ends], surface_mesh.edges.faces
    length = (ends[:, 0] - ends[:, 1]).norm(dim=1) * (
        surface_mesh.areas.detach()[faces].amin(1) > SMALLEST
    )
    one, other = surface_mesh.face_normals[faces].unbind(1)
    return (length * (1 - (one * other).sum(1))).sum() / length.sum().clamp_min(1e-12)


def ball_distance(vertices: Tensor, resolution: int, radius: float = 0.5) -> Tensor:
    """Distances [V] of the corners of a grid from a ball, in cells, held within ±1."""
    return ((vertices.norm(dim=1) - radius) * (resolution / 2)).clamp(-1, 1)
