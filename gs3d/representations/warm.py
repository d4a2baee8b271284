"""Compiles ahead of a run what fields and surfaces need beside the rasteriser."""

import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.core.types import Splats
from gs3d.representations.convert import surface_of_splats
from gs3d.representations.dmtet import DmtetConfig
from gs3d.representations.field.field import FieldConfig
from gs3d.representations.field.hashgrid import HashGridConfig
from gs3d.representations.mesh import mesh_of_splats
from gs3d.representations.nerf import Nerf, NerfConfig


def warm_up() -> None:
    """Runs each kernel once, which compiles it or loads it from the cache: half a minute the first time on a machine, then seconds."""
    field = FieldConfig(grid=HashGridConfig(levels=2, log2_size=8, coarsest=4, finest=8), hidden=8)
    nerf = Nerf(NerfConfig(field=field, samples=8, occupancy_cells=4), seed=0)
    out = nerf.render(ring(1, 8), torch.ones(3), 0.5, generator(0, "warm"), normals=True)
    (out.rgb.sum() + out.normal.sum()).backward()
    quats, colours = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 1, 3)
    ball = Splats(torch.zeros(1, 3), quats, torch.full((1, 3), 0.2), torch.tensor([0.95]), colours)
    surface_of_splats(ball, DmtetConfig(cells=8, field=field))
    mesh_of_splats(ball, cells=16, views=8).textured(16)
