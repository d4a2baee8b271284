"""Kernels give equal results on any number of threads, and keep torch's number of threads."""

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.evaluation.reference import reference_splats
from gs3d.representations.meshing.fusion import mesh_of_splats
from gs3d.world.captions import Meaning, Thing
from gs3d.world.mesh import mesh_of
from gs3d.world.render import render
from gs3d.world.sample import realize


@pytest.fixture
def with_threads():
    """A function that calls another one while torch has a given number of threads."""
    before = torch.get_num_threads()

    def call(count, function):
        torch.set_num_threads(count)
        result = function()
        assert torch.get_num_threads() == count
        return result

    yield call
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def parts():
    return realize(np.random.default_rng(0), Meaning(Thing("mug", "red"))).parts


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_renders_of_the_world(with_threads, parts):
    def renders():
        out = render([parts] * 3, ring(3, 24))
        return out.rgb, out.alpha, out.depth, out.normal

    assert_equal(with_threads(1, renders), with_threads(3, renders))


def test_meshes_of_the_world(with_threads, parts):
    def mesh():
        out = mesh_of(parts, resolution=24)
        return out.vertices, out.faces, out.colors

    assert_equal(with_threads(1, mesh), with_threads(3, mesh))


def test_meshes_of_splats(with_threads, parts):
    splats = reference_splats(parts, size_px=32)

    def mesh():
        out = mesh_of_splats(splats, faces=500, resolution=24, views=8).colored()
        return out.vertices, out.faces, out.colors

    assert_equal(with_threads(1, mesh), with_threads(3, mesh))
