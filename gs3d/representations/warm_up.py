"""Compile, before a run, the kernels that fields and surfaces need besides the rasterizer."""

import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.core.types import Splats
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.dmtet.convert import surface_of_splats
from gs3d.representations.meshing.fusion import mesh_of_splats
from gs3d.representations.nerf.config import NerfConfig
from gs3d.representations.nerf.field import FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from gs3d.representations.nerf.nerf import Nerf


def warm_up() -> None:
    """Run each kernel once, which compiles it or loads it from the cache.

    It takes half a minute the first time on a machine, and seconds after that.
    """
    field = FieldConfig(grid=HashGridConfig(levels=2, log2_size=8, coarsest=4, finest=8), hidden=8)
    nerf = Nerf(NerfConfig(field=field, samples=8, occupancy_resolution=4), seed=0)
    out = nerf.render(ring(1, 8), torch.ones(3), 0.5, generator(0, "warm"), normals=True)
    assert out.normal is not None
    (out.rgb.sum() + out.normal.sum()).backward()
    quats, colors = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 1, 3)
    ball = Splats(torch.zeros(1, 3), quats, torch.full((1, 3), 0.2), torch.tensor([0.95]), colors)
    surface_of_splats(ball, DmtetConfig(resolution=8, field=field))
    mesh_of_splats(ball, resolution=16, views=8).textured(16)
