"""How a surface of tetrahedra begins: as what a field, or splats, have become."""

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.types import Splats
from gs3d.representations.dmtet.dmtet import Dmtet, DmtetConfig, ball_distance
from gs3d.representations.dmtet.tets import tet_grid
from gs3d.representations.meshing.fusion import colors_of, render_views, signed
from gs3d.representations.nerf.field import Field

STEEPEST = 3.0
"""Of the logarithm of a density across a cell: beyond, a corner is simply inside or outside."""
MISSED = 0.05
"""Share of the rays through a field that may miss the surface it becomes: those that graze it."""
VIEWS, PIXELS_PER_VOXEL = 60, 1.5
"""Pictures of splats, and their size."""
FIT_STEPS, FIT_POINTS, FIT_RATE = 200, 4096, 0.01
"""Of the fit of a surface's colors to those of splats."""


@torch.no_grad()
def surface_of_field(source: Field, config: DmtetConfig) -> Dmtet:
    """The surface where a field's density says there is one, in the field's colors."""
    vertices = tet_grid(config.resolution).vertices.to(source.table.device)
    density = torch.cat([source(part, 1.0, colors=False).density for part in vertices.split(65536)])
    density = density * (vertices.norm(dim=1) < 1)  # farther out no ray has ever looked
    colors = Field(source.config, rng.generator(0, "colours")).to(vertices.device)
    colors.load_state_dict(source.state_dict())
    return Dmtet(
        dataclasses.replace(config, field=source.config),
        distance_of(density, vertices, config.resolution),
        colors,
    )


def surface_of_splats(splats: Splats, config: DmtetConfig) -> Dmtet:
    """The surface that splats in the unit sphere show from all around, in their colors; a ball where they show nothing solid.

    What is thinner than a cell is lost.
    """
    device = splats.means.device
    views = render_views(splats, VIEWS, int(PIXELS_PER_VOXEL * config.resolution))
    distance = (
        torch.from_numpy(signed(views, np.linspace(-1, 1, config.resolution + 1)))
        .flatten()
        .to(device)
    )
    if not distance.min() < 0 < distance.max():
        distance = ball_distance(tet_grid(config.resolution).vertices.to(device), config.resolution)
    made = Dmtet(
        config, distance.clamp(-1, 1), Field(config.field, rng.generator(0, "colours")).to(device)
    )
    with torch.no_grad():
        surface_mesh = made.surface_mesh()
    if len(surface_mesh.points):
        colors = colors_of(
            views,
            config.resolution,
            surface_mesh.points.double().cpu().numpy(),
            surface_mesh.normals.double().cpu().numpy(),
        )
        _fit(
            made.colors,
            surface_mesh.points,
            surface_mesh.normals / config.resolution,
            torch.from_numpy(colors).to(device),
        )
    return made


def _fit(field: Field, points: Tensor, reach: Tensor, colors: Tensor) -> None:
    """Teach a field the colors [P, 3] of points [P, 3] and of what is up to `reach` [P, 3] off them, as the surface will move."""
    gen = rng.generator(0, "fit")
    optimizer = torch.optim.Adam(field.parameters(), lr=FIT_RATE, betas=(0.9, 0.99), eps=1e-15)
    for _ in range(FIT_STEPS):
        at = torch.randint(len(points), (FIT_POINTS,), generator=gen).to(points.device)
        off = (2 * torch.rand(FIT_POINTS, 1, generator=gen) - 1).to(points.device)
        functional.mse_loss(field.albedo(points[at] + off * reach[at]), colors[at]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def distance_of(density: Tensor, vertices: Tensor, resolution: int) -> Tensor:
    """Densities [V] at the corners of a grid → distances in cells, held within ±1, negative where something is.

    The surface is where the density hides half of what is behind a cell, or thinner where it must be for the surface to be seen wherever
    the field is. A field that is nowhere so dense in the unit sphere, or everywhere in it, has it around its densest tenth; one that is
    everywhere the same becomes a ball.
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
    return ((level - logs) / STEEPEST).clamp(-1, 1)


def silhouette_level(logs: Tensor, resolution: int) -> Tensor:
    """The logarithm of a density that nearly every ray along an axis which hides half of what is behind it reaches somewhere: a scalar.

    Smoke may hide as much as a wall, and is as much of the object: with one level for all fields its surface would be missing. Infinite
    for a field that hides nothing.
    """
    cube = logs.view(resolution + 1, resolution + 1, resolution + 1)
    densest = torch.cat([cube.amax(axis).flatten() for axis in range(3)])
    thickness = torch.cat(
        [(cube.exp().sum(axis) * (2 / resolution)).flatten() for axis in range(3)]
    )
    hiding = densest[thickness > math.log(2)]
    # A little below: what is just as dense all over is inside.
    return (
        hiding.kthvalue(max(1, int(MISSED * len(hiding)))).values - 0.1
        if len(hiding)
        else torch.full((), math.inf, device=logs.device)
    )
