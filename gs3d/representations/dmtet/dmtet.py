"""An optimizable closed surface with a color field, after DMTet (Shen et al. 2021).

The surface is the zero level of signed distances on a tetrahedral grid with displaced vertices.
Here, distances are negative inside. The shape gets gradients from silhouettes and from
`Render.normal`. Colors are evaluated at the current surface and give no gradient to the shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.cameras import Cameras
from gs3d.core.types import Render
from gs3d.representations.adam import Adam, Named, moments_of, put_moments
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.dmtet.tets import TetGrid, marching_tetrahedra, tet_grid
from gs3d.representations.meshing.triangles import (
    Edges,
    antialias,
    edges_of,
    fragments,
    interpolated,
)
from gs3d.representations.nerf.field import Field

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

MIN_DOUBLED_AREA = 1e-7
"""Twice the area below which a triangle is ignored by the consistency term: a tiny displacement
flips the normal of a smaller one."""


@dataclass(frozen=True)
class SurfaceMesh:
    """The surface of the current parameters: P vertices and F triangles."""

    points: Float[Tensor, "P 3"]
    """Vertices, differentiable."""
    faces: Int64[Tensor, "F 3"]
    """Rows of `points`."""
    edges: Edges
    face_normals: Float[Tensor, "F 3"]
    """Unit normals of the triangles."""
    areas: Float[Tensor, " F"]
    """Twice the areas of the triangles."""
    normals: Float[Tensor, "P 3"]
    """Unit normals of the vertices: the area-weighted mean of the adjacent triangles."""


class Dmtet:
    """A `Representation`: signed distances and displacements of grid vertices, and a color field.

    Parameters: `distance` [V] in grid spacings, and `offset` [V, 3]. A grid vertex is displaced by
    tanh(offset) · `max_offset` grid spacings.
    """

    counts: ClassVar[str] = "inner_vertices"

    def __init__(self, config: DmtetConfig, distance: Float[Tensor, " V"], colors: Field):
        self.config = config
        self.grid: TetGrid = tet_grid(config.resolution).to(distance.device)
        self.distance = torch.nn.Parameter(distance.clone())
        self.offset = torch.nn.Parameter(torch.zeros_like(self.grid.vertices))
        self.colors = colors
        networks = [p for name, p in colors.named_parameters() if name != "table"]
        groups = [[self.distance], [self.offset], [colors.table], networks]
        self.optimizer = Adam(groups, betas=(0.9, 0.99))

    @staticmethod
    def ball(config: DmtetConfig, radius: float, seed: int, device: str = "cpu") -> Dmtet:
        """Return a ball around the origin with an untrained color field."""
        vertices = tet_grid(config.resolution).vertices.to(device)
        distance = ball_distance(vertices, config.resolution, radius)
        return Dmtet(
            config, distance, Field(config.field, rng.generator(seed, "colours")).to(device)
        )

    def surface_mesh(self) -> SurfaceMesh:
        """Return the surface as a mesh.

        It is closed for all values of the parameters, and empty if no grid vertex is inside.
        """
        vertices = self.grid.vertices + self.offset.tanh() * (
            self.config.max_offset * 2 / self.config.resolution
        )
        # Vertices on the border of the domain stay outside, so the surface has no boundary.
        distance = torch.where(self.grid.border, self.distance.clamp_min(0.1), self.distance)
        points, faces = marching_tetrahedra(vertices, distance, self.grid.tets)
        a, b, c = points[faces].unbind(1)
        area = torch.linalg.cross(b - a, c - a)
        summed = torch.zeros_like(points)
        for i in range(3):
            summed = summed.index_add(0, faces[:, i], area)
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
        """Render B images over `background`: [3], or [B, 3] for one color per camera.

        The result always has normals. With `normals`, colors have no gradient.
        `aux["surface_mesh"]` is the rendered `SurfaceMesh`.
        """
        mesh = self.surface_mesh()
        # A loss on normals alone must leave the color field unchanged. A gradient of zeros is not
        # enough, because Adam would still move the parameters by their momentum.
        with_colors = torch.is_grad_enabled() and not normals
        views = [self._view(mesh, cameras, i, with_colors) for i in range(len(cameras))]
        rgb, alpha, normal, depth = (torch.stack(images) for images in zip(*views, strict=True))
        behind = background.to(rgb.device).expand(len(cameras), 3)[:, None, None]
        return Render(rgb + (1 - alpha) * behind, alpha, depth, normal, {"surface_mesh": mesh})

    def _view(
        self, mesh: SurfaceMesh, cameras: Cameras, view: int, with_colors: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return color, alpha, normal and depth of one view, each [H, W, 3 or 1].

        Color and normal are premultiplied by alpha.
        """
        seen = fragments(mesh.points, mesh.faces, cameras, view)
        covered = (seen.face >= 0)[..., None]
        alpha = covered.to(mesh.points.dtype)
        color = torch.zeros(*seen.face.shape, 3, device=alpha.device)
        if covered.any():
            where = interpolated(mesh.points.detach(), mesh.faces, seen)[covered[..., 0]].detach()
            with torch.set_grad_enabled(with_colors):
                albedo = self.colors.albedo(where)
            color = color.masked_scatter(covered, albedo)
        normal = functional.normalize(interpolated(mesh.normals, mesh.faces, seen), dim=-1)
        image = antialias(torch.cat([color, normal, alpha], -1), seen, mesh.faces, mesh.edges)
        depth = torch.where(covered, seen.depth[..., None], 0.0)
        return image[..., :3], image[..., 6:], image[..., 3:6], depth

    def regularizer(self, out: Render, progress: float) -> Tensor:
        """Return the weighted sum of all regularizers, a scalar."""
        r, mesh, total = (
            self.config.regularizers,
            out.aux["surface_mesh"],
            torch.zeros((), device=self.distance.device),
        )
        if not len(mesh.faces):
            return total
        if weight := r.consistency(progress):
            total = total + weight * _consistency(mesh)
        if weight := r.laplacian(progress):
            total = total + weight * self._laplacian(mesh)
        return total

    def _laplacian(self, mesh: SurfaceMesh) -> Tensor:
        """Return the mean squared distance of vertices from the mean of their neighbors, a scalar.

        The unit of distance is the grid spacing.
        """
        ends = torch.cat([mesh.edges.ends, mesh.edges.ends.flip(1)])
        count = torch.zeros(len(mesh.points), 1, device=self.distance.device).index_add(
            0, ends[:, 0], torch.ones_like(ends[:, :1]).float()
        )
        mean = (
            torch.zeros_like(mesh.points).index_add(0, ends[:, 0], mesh.points[ends[:, 1]]) / count
        )
        return ((mean - mesh.points) * (self.config.resolution / 2)).square().sum(1).mean()

    def __len__(self) -> int:
        """Return the number of grid vertices inside the surface."""
        return int(((self.distance < 0) & ~self.grid.border).sum())

    @property
    def device(self) -> torch.device:
        return self.distance.device

    def gradients(self) -> list[Tensor]:
        return [p.grad for p, _ in self._optimized().values() if p.grad is not None]

    def after_step(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """Do nothing: the grid is fixed."""

    def discard_gradients(self) -> None:
        self.optimizer.zero_grad()

    def is_consistent(self) -> bool:
        return True

    def state_tensors(self) -> dict[str, Tensor]:
        return {
            f"params.{name}": p.detach() for name, (p, _) in self._optimized().items()
        } | moments_of(self._optimized())

    def _optimized(self) -> Named:
        own = {"distance": self.distance, "offset": self.offset}
        colors = {f"colors.{name}": p for name, p in self.colors.named_parameters()}
        return {name: (p, self.optimizer) for name, p in (own | colors).items()}

    @staticmethod
    def from_state(tensors: dict[str, Tensor], config: DmtetConfig, device: str = "cpu") -> Dmtet:
        """Create a surface from the tensors that `state_tensors` returned."""
        colors = Field(config.field, rng.generator(0, "colours")).to(device)
        restored = Dmtet(config, tensors["params.distance"].to(device), colors)
        with torch.no_grad():
            for name, (p, _) in restored._optimized().items():
                p.copy_(tensors[f"params.{name}"])
        put_moments(restored._optimized(), tensors)
        return restored

    def optimize(self, progress: float, share: float) -> None:
        """Take one Adam step at the rates of `progress`, then clear the gradients."""
        c = self.config
        for group, rate in zip(
            self.optimizer.param_groups,
            (c.distance_rate, c.offset_rate, c.table_rate, c.network_rate),
            strict=True,
        ):
            group["lr"] = rate(progress)
        self.optimizer.step()
        self.optimizer.zero_grad()


def _consistency(mesh: SurfaceMesh) -> Tensor:
    """Return the mean of 1 − n·n′ over edges, weighted by edge length, a scalar.

    Edges at a triangle below `MIN_DOUBLED_AREA` are left out.
    """
    ends, faces = mesh.points.detach()[mesh.edges.ends], mesh.edges.faces
    length = (ends[:, 0] - ends[:, 1]).norm(dim=1) * (
        mesh.areas.detach()[faces].amin(1) > MIN_DOUBLED_AREA
    )
    first, second = mesh.face_normals[faces].unbind(1)
    return (length * (1 - (first * second).sum(1))).sum() / length.sum().clamp_min(1e-12)


def ball_distance(
    vertices: Float[Tensor, "V 3"], resolution: int, radius: float = 0.5
) -> Float[Tensor, " V"]:
    """Return the signed distances of grid vertices from a ball around the origin.

    They are in grid spacings, clamped to [−1, 1].
    """
    return ((vertices.norm(dim=1) - radius) * (resolution / 2)).clamp(-1, 1)
