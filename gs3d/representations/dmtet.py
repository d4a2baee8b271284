"""A closed surface that can be optimised: signed distances on a grid of tetrahedra, corners that move a little, and a colour field.

After DMTet (Shen et al. 2021); here distances are negative inside. The shape learns from silhouettes and from `Render.normal`: colours
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
from gs3d.representations.field.field import Field, FieldConfig
from gs3d.representations.moments import Named, moments_of, put_moments
from gs3d.representations.surface.tets import TetGrid, marched, tet_grid
from gs3d.representations.surface.triangles import Edges, edges_of, fragments, interpolated, smooth_edges

SMALLEST = 1e-7
"""Twice the area of a triangle that still has a say about smoothness: less, and its normal turns round at a touch."""


@dataclass(frozen=True)
class DmtetRegularisers:
    """Weights of what keeps a surface smooth; each term is a mean."""

    consistency: Ramp = Ramp(0.0, 0.0)
    """1 − n·n′ of the two triangles at an edge, by its length."""
    laplacian: Ramp = Ramp(0.0, 0.0)
    """Squared distance of a point from the mean of its neighbours, in cells."""

    def __post_init__(self) -> None:
        for name in ("consistency", "laplacian"):
            within(name, getattr(self, name).ends, "[0, inf)")


@dataclass(frozen=True)
class DmtetConfig:
    """The grid, its colours, and how both are optimised."""

    cells: int = 64
    """Along an edge of the cube from −1 to 1."""
    reach: float = 0.45
    """Most that a corner of the grid moves along an axis, in cells."""
    field: FieldConfig = field(default_factory=FieldConfig)
    """Of the colours; all its levels are open. A surface that begins as a field takes that of the field."""
    regularisers: DmtetRegularisers = DmtetRegularisers()
    distance_rate: Ramp = Ramp(0.15, 0.02, "exp")
    """Adam's, in cells."""
    offset_rate: Ramp = Ramp(2e-2, 5e-3, "exp")
    table_rate: Ramp = Ramp(1e-2, 1e-3, "exp")
    network_rate: Ramp = Ramp(1e-3, 1e-4, "exp")

    def __post_init__(self) -> None:
        within("cells", self.cells, "[2, 256]")
        within("reach", self.reach, "[0, 0.5)")
        for name in ("distance_rate", "offset_rate", "table_rate", "network_rate"):
            within(name, getattr(self, name).ends, "[0, inf)")


@dataclass(frozen=True)
class Skin:
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

    counts: ClassVar[str] = "corners"

    def __init__(self, config: DmtetConfig, distance: Tensor, colours: Field):
        self.config = config
        self.grid: TetGrid = tet_grid(config.cells).to(distance.device)
        self.distance = torch.nn.Parameter(distance.clone())
        self.offset = torch.nn.Parameter(torch.zeros_like(self.grid.vertices))
        self.colours = colours
        networks = [p for name, p in colours.named_parameters() if name != "table"]
        groups = [[self.distance], [self.offset], [colours.table], networks]
        self.optimizer = torch.optim.Adam([{"params": g} for g in groups], lr=1e-3, betas=(0.9, 0.99), eps=1e-15)

    @staticmethod
    def ball(config: DmtetConfig, radius: float, seed: int, device: str = "cpu") -> "Dmtet":
        vertices = tet_grid(config.cells).vertices.to(device)
        distance = ball_distance(vertices, config.cells, radius)
        return Dmtet(config, distance, Field(config.field, rng.generator(seed, "colours")).to(device))

    def skin(self) -> Skin:
        """The surface: closed, whatever the parameters are; without points where no corner is inside."""
        corners = self.grid.vertices + self.offset.tanh() * (self.config.reach * 2 / self.config.cells)
        # Held outside on the border of the cube, so that the surface ends nowhere.
        distance = torch.where(self.grid.border, self.distance.clamp_min(0.1), self.distance)
        points, faces = marched(corners, distance, self.grid.tets)
        a, b, c = points[faces].unbind(1)
        area = torch.linalg.cross(b - a, c - a)
        summed = torch.zeros_like(points)
        for corner in range(3):
            summed = summed.index_add(0, faces[:, corner], area)
        face_normals, normals = functional.normalize(area, dim=1), functional.normalize(summed, dim=1)
        return Skin(points, faces, edges_of(faces), face_normals, area.norm(dim=1), normals)

    def render(
        self,
        cameras: Cameras,
        background: Tensor,
        progress: float = 1.0,
        gen: torch.Generator | None = None,
        normals: bool = False,
    ) -> Render:
        """B pictures over `background`, [3] or one a camera [B, 3], always with normals; `aux` has the "skin" that they show.

        Where normals are asked for, colours have no gradient.
        """
        skin = self.skin()
        # Whoever looks at the normals alone must not move the colours: a gradient of zeros is none to an optimiser with momentum.
        with_colours = torch.is_grad_enabled() and not normals
        views = [self._view(skin, cameras, i, with_colours) for i in range(len(cameras))]
        rgb, alpha, normal, depth = (torch.stack(pictures) for pictures in zip(*views, strict=True))
        behind = background.to(rgb.device).expand(len(cameras), 3)[:, None, None]
        return Render(rgb + (1 - alpha) * behind, alpha, depth, normal, {"skin": skin})

    def _view(self, skin: Skin, cameras: Cameras, view: int, with_colours: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Colour and normal, both premultiplied by alpha, alpha, and depth: [H, W, 3 or 1]."""
        seen = fragments(skin.points, skin.faces, cameras, view)
        covered = (seen.face >= 0)[..., None]
        alpha = covered.to(skin.points.dtype)
        colour = torch.zeros(*seen.face.shape, 3, device=alpha.device)
        if covered.any():
            where = interpolated(skin.points.detach(), skin.faces, seen)[covered[..., 0]].detach()
            with torch.set_grad_enabled(with_colours):
                albedo = self.colours.albedo(where)
            colour = colour.masked_scatter(covered, albedo)
        normal = functional.normalize(interpolated(skin.normals, skin.faces, seen), dim=-1)
        picture = smooth_edges(torch.cat([colour, normal, alpha], -1), seen, skin.faces, skin.edges)
        depth = torch.where(covered, seen.depth[..., None], 0.0)
        return picture[..., :3], picture[..., 6:], picture[..., 3:6], depth

    def regulariser(self, out: Render, progress: float) -> Tensor:
        """The weighted sum of all regularisers, a scalar."""
        r, skin, total = self.config.regularisers, out.aux["skin"], torch.zeros((), device=self.distance.device)
        if not len(skin.faces):
            return total
        if weight := r.consistency(progress):
            total = total + weight * _consistency(skin)
        if weight := r.laplacian(progress):
            ends = torch.cat([skin.edges.ends, skin.edges.ends.flip(1)])
            count = torch.zeros(len(skin.points), 1, device=total.device).index_add(0, ends[:, 0], torch.ones_like(ends[:, :1]).float())
            mean = torch.zeros_like(skin.points).index_add(0, ends[:, 0], skin.points[ends[:, 1]]) / count
            total = total + weight * ((mean - skin.points) * (self.config.cells / 2)).square().sum(1).mean()
        return total

    def __len__(self) -> int:
        """Corners of the grid that are inside."""
        return int(((self.distance < 0) & ~self.grid.border).sum())

    @property
    def device(self) -> torch.device:
        return self.distance.device

    def gradients(self) -> list[Tensor]:
        return [p.grad for p, _ in self._named().values() if p.grad is not None]

    def tend(self, out: Render, before: float, now: float, seed: int, step: int) -> None:
        """Nothing: the grid stays as it is."""

    def discard_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def whole(self) -> bool:
        return True

    def state_tensors(self) -> dict[str, Tensor]:
        return {f"params.{name}": p.detach() for name, (p, _) in self._named().items()} | moments_of(self._named())

    def _named(self) -> Named:
        own = {"distance": self.distance, "offset": self.offset}
        colours = {f"colours.{name}": p for name, p in self.colours.named_parameters()}
        return {name: (p, self.optimizer) for name, p in (own | colours).items()}

    @staticmethod
    def from_state(tensors: dict[str, Tensor], config: DmtetConfig, device: str = "cpu") -> "Dmtet":
        """The inverse of `state_tensors`."""
        colours = Field(config.field, rng.generator(0, "colours")).to(device)
        made = Dmtet(config, tensors["params.distance"].to(device), colours)
        with torch.no_grad():
            for name, (p, _) in made._named().items():
                p.copy_(tensors[f"params.{name}"])
        put_moments(made._named(), tensors)
        return made

    def optimise(self, progress: float, share: float) -> None:
        """One Adam step on the gradients at hand, at the rates of this moment; gradients are cleared."""
        c = self.config
        for group, rate in zip(self.optimizer.param_groups, (c.distance_rate, c.offset_rate, c.table_rate, c.network_rate), strict=True):
            group["lr"] = rate(progress)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def _consistency(skin: Skin) -> Tensor:
    """Mean of 1 − n·n′ over edges by their length, without those at a triangle too small to have a normal worth the name: a scalar."""
    ends, faces = skin.points.detach()[skin.edges.ends], skin.edges.faces
    length = (ends[:, 0] - ends[:, 1]).norm(dim=1) * (skin.areas.detach()[faces].amin(1) > SMALLEST)
    one, other = skin.face_normals[faces].unbind(1)
    return (length * (1 - (one * other).sum(1))).sum() / length.sum().clamp_min(1e-12)


def ball_distance(vertices: Tensor, cells: int, radius: float = 0.5) -> Tensor:
    """Distances [V] of the corners of a grid from a ball, in cells, held within ±1."""
    return ((vertices.norm(dim=1) - radius) * (cells / 2)).clamp(-1, 1)
