"""Where an asset lies, and the asset moved into the view of usual cameras."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.types import Mesh
from gs3d.ops.place import WORLD, framed, place_of
from gs3d.representations.asset import draw
from tests.cli.assets.files import ball


def picture(asset):
    return draw(asset, ring(2, 64), (1.0, 1.0, 1.0)).rgb


@pytest.mark.parametrize(("offset", "size"), [(0.0, 1e-4), (0.0, 1e3), (50.0, 1.0), (-7e3, 30.0)])
def test_an_object_looks_the_same_wherever_it_lies(offset, size):
    splats = ball(300)
    moved = replace(splats, means=splats.means * size + offset, scales=splats.scales * size)
    assert place_of(splats) is WORLD and framed(splats) is splats
    expected = framed(replace(splats, means=splats.means * 10, scales=splats.scales * 10))
    error = (picture(framed(moved)) - picture(expected)).abs()
    assert error.mean() < 0.002 and (picture(expected) < 0.9).any(-1).float().mean() > 0.3


def test_meshes_are_framed_too():
    vertices = np.eye(4, 3, dtype=np.float32) * 500 + 9000
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)
    flat = np.full((4, 3), 0.5, np.float32)
    mesh = framed(Mesh(vertices, faces, flat, flat))
    assert np.abs(mesh.vertices).max() <= 1.001
    assert (picture(mesh) < 0.9).any(-1).float().mean() > 0.05


def test_positions_in_double_precision_are_framed_exactly():
    splats = ball(300)
    far = replace(splats, means=splats.means.double() * 0.001 + 4649776.25)
    far = replace(far, scales=splats.scales * 0.001)
    seen = framed(far)
    assert seen.means.dtype == torch.float32
    assert torch.allclose(seen.means.norm(dim=1).max(), torch.tensor(0.95), atol=0.06)
