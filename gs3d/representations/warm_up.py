"""Compiles ahead of a run what fields and surfaces need beside the rasterizer."""

import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.core.types import Splats
from gs3d.representations.dmtet.convert import surface_of_splats
from gs3d.representations.dmtet.dmtet import DmtetConfig
from gs3d.representations.meshing.fusion import mesh_of_splats
from gs3d.representations.nerf.field import FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from gs3d.representations.nerf.nerf import Nerf, NerfConfig


def warm_up() -> None:
    """Runs each kernel once, which compiles it or loads it from the cache: half a minute the first time on a machine, then seconds."""
    field = FieldConfig(grid=HashGridConfig(levels=2, log2_size=8, coarsest=4, finest=8), hidden=8)
    nerf = Nerf(NerfConfig(field=field, samples=8, occupancy_resolution=4), seed=0)
    out = nerf.render(ring(1, 8), torch.ones(3), 0.5, generator(0, "warm"), normals=True)
    (out.rgb.sum() + out.normal.sum()).backward()
    quats, colors = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 1, 3)
    ball = Splats(torch.zeros(1, 3), quats, torch.full((1, 3), 0.2), torch.tensor([0.95]), colors)
    surface_of_splats(ball, DmtetConfig(resolution=8, field=field))
    mesh_of_splats(ball, resolution=16, views=8).textured(16)
