"""Initialize a DMTet surface from a radiance field or from splats."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.types import Splats
from gs3d.representations.adam import Adam
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.dmtet.dmtet import Dmtet, ball_distance
from gs3d.representations.dmtet.tets import tet_grid
from gs3d.representations.meshing.fusion import colors_of, render_views, signed_distances
from gs3d.representations.nerf.field import Field

if TYPE_CHECKING:
    from jaxtyping import Float

MAX_LOG_DIFFERENCE = 3.0
"""Difference of log density from the surface level at which the distance saturates at ±1."""
MISSED_SHARE = 0.05
"""Share of the opaque rays through a field that may miss the surface: rays that graze it."""
VIEWS, PIXELS_PER_VOXEL = 60, 1.5
"""Number of rendered views of splats, and their image size per unit of grid resolution."""
FIT_STEPS, FIT_POINTS, FIT_RATE = 200, 4096, 0.01
"""Steps, points per step and learning rate of the fit of the color field to the views."""


@torch.no_grad()
def surface_of_field(source: Field, config: DmtetConfig) -> Dmtet:
    """Return the surface at the density level that `distance_of` chooses, with the field's colors.

    The color field is a copy of `source`, so its settings replace `config.field`.
    """
    vertices = tet_grid(config.resolution).vertices.to(source.table.device)
    density = torch.cat([source(part, 1.0, colors=False).density for part in vertices.split(65536)])
    # Rays are sampled inside the unit sphere only, so the density outside is untrained.
    density = density * (vertices.norm(dim=1) < 1)
    colors = Field(source.config, rng.generator(0, "colours")).to(vertices.device)
    colors.load_state_dict(source.state_dict())
    return Dmtet(
        dataclasses.replace(config, field=source.config),
        distance_of(density, vertices, config.resolution),
        colors,
    )


def surface_of_splats(splats: Splats, config: DmtetConfig) -> Dmtet:
    """Return the surface of splats in the unit sphere, fused from renders, with their colors.

    It is a ball if the renders show nothing solid. Structures thinner than a grid spacing are lost.
    """
    device = splats.means.device
    views = render_views(splats, VIEWS, int(PIXELS_PER_VOXEL * config.resolution))
    distance = (
        torch.from_numpy(signed_distances(views, np.linspace(-1, 1, config.resolution + 1)))
        .flatten()
        .to(device)
    )
    if not distance.min() < 0 < distance.max():
        distance = ball_distance(tet_grid(config.resolution).vertices.to(device), config.resolution)
    surface = Dmtet(
        config, distance.clamp(-1, 1), Field(config.field, rng.generator(0, "colours")).to(device)
    )
    with torch.no_grad():
        mesh = surface.surface_mesh()
    if len(mesh.points):
        colors = colors_of(
            views,
            config.resolution,
            mesh.points.double().cpu().numpy(),
            mesh.normals.double().cpu().numpy(),
        )
        _fit(
            surface.colors,
            mesh.points,
            mesh.normals / config.resolution,
            torch.from_numpy(colors).to(device),
        )
    return surface


def _fit(field: Field, points: Tensor, reach: Tensor, colors: Tensor) -> None:
    """Fit a field to the colors [P, 3] of points [P, 3].

    The fit includes points displaced by up to ±`reach` [P, 3], because the surface will move.
    """
    gen = rng.generator(0, "fit")
    optimizer = Adam([list(field.parameters())], FIT_RATE, betas=(0.9, 0.99))
    for _ in range(FIT_STEPS):
        at = torch.randint(len(points), (FIT_POINTS,), generator=gen).to(points.device)
        off = (2 * torch.rand(FIT_POINTS, 1, generator=gen) - 1).to(points.device)
        functional.mse_loss(field.albedo(points[at] + off * reach[at]), colors[at]).backward()
        optimizer.step()
        optimizer.zero_grad()


def distance_of(
    density: Float[Tensor, " V"], vertices: Float[Tensor, "V 3"], resolution: int
) -> Float[Tensor, " V"]:
    """Convert densities at grid vertices to signed distances, negative inside.

    They are in grid spacings, clamped to [−1, 1]. The surface level is the density that gives
    alpha 0.5 over one grid spacing, or `silhouette_level` if that is lower. If no density in the
    unit sphere reaches the level, or all do, the surface encloses the densest tenth. A field of
    constant density becomes a ball.
    """
    logs = density.clamp(1e-30, 1e30).log()
    within = logs[vertices.norm(dim=1) < 1]
    level = silhouette_level(logs, resolution).clamp_max(math.log(math.log(2) * resolution / 2))
    low, high = within.min(), within.max()
    if not low < level < high:
        tenth = within.kthvalue(max(1, int(0.9 * len(within)))).values
        level = tenth if low < tenth < high else 0.5 * (low + high)
    if high - low < 1e-3:
        return ball_distance(vertices, resolution)
    return ((level - logs) / MAX_LOG_DIFFERENCE).clamp(-1, 1)


def silhouette_level(logs: Float[Tensor, " V"], resolution: int) -> Tensor:
    """Return the log density of a surface that keeps the silhouette of the field, a scalar.

    `logs` are log densities at grid vertices. Of the axis-parallel rays with alpha above 0.5, all
    but `MISSED_SHARE` reach the returned level somewhere. The level depends on the field because a
    thick volume of low density can be as opaque as a wall and belongs to the object too; one level
    for all fields would drop it. It is infinite if no ray has alpha above 0.5.
    """
    cube = logs.view(resolution + 1, resolution + 1, resolution + 1)
    densest = torch.cat([cube.amax(axis).flatten() for axis in range(3)])
    thickness = torch.cat(
        [(cube.exp().sum(axis) * (2 / resolution)).flatten() for axis in range(3)]
    )
    hiding = densest[thickness > math.log(2)]
    # The margin of 0.1 puts regions of exactly this density inside.
    return (
        hiding.kthvalue(max(1, int(MISSED_SHARE * len(hiding)))).values - 0.1
        if len(hiding)
        else torch.full((), math.inf, device=logs.device)
    )
