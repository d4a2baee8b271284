"""Existing splats and meshes as a start: the same picture, on the surface, in its colors."""

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.types import Mesh, TexturedMesh
from gs3d.raster import rasterize
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.existing import parameters_of, splats_of_mesh
from gs3d.representations.gaussians.gaussians import Gaussians
from tests.io.splats.samples import random_splats


def cube(colors=None) -> Mesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = [t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))]
    colors = np.tile([0.8, 0.2, 0.1], (8, 1)) if colors is None else colors
    single = (a.astype(np.float32) for a in (corners, corners, colors))
    vertices, normals, colors = single
    return Mesh(vertices, np.array(triangles, np.int32), normals, colors)


@pytest.mark.parametrize("degree", [0, 2])
def test_existing_splats_render_as_they_are(degree):
    splats = random_splats(200, degree)
    config = GaussianConfig(sh_degree=degree)
    found = Gaussians.of(splats, config, pixel_size=lambda progress: 0.002)
    assert found.smoothing == pytest.approx(0.0011)
    cameras = ring(2, 48)
    again, expected = (rasterize(s, cameras).rgb for s in (found.splats(), splats))
    torch.testing.assert_close(again, expected, atol=3e-3, rtol=0)
    assert all(p.requires_grad for p in found.params.values())


def test_splats_narrower_than_the_filter_and_at_the_ends_of_opacity_stay_finite():
    splats = random_splats(3, 0)
    splats.scales[0], splats.opacities[1:] = 1e-9, torch.tensor([0.0, 1.0])
    for smoothing in (0.0, 0.02):
        found = parameters_of(splats, 0, smoothing)
        assert all(bool(torch.isfinite(p).all()) for p in found.values())


@pytest.mark.parametrize("given, wanted", [(0, 2), (3, 1)])
def test_spherical_harmonics_of_another_degree(given, wanted):
    splats = random_splats(5, given)
    found = parameters_of(splats, wanted, 0.0)
    sh = torch.cat([found["sh0"], found["shN"]], 1)
    kept = min(sh.shape[1], splats.sh.shape[1])
    assert sh.shape == (5, (wanted + 1) ** 2, 3)
    torch.testing.assert_close(sh[:, :kept], splats.sh[:, :kept])
    assert not sh[:, kept:].any()


def test_splats_of_a_mesh_lie_on_it_evenly_and_flat():
    splats = splats_of_mesh(cube(), 6000)
    assert len(splats) == 6000
    distance = splats.means.abs().amax(1)
    torch.testing.assert_close(distance, torch.full_like(distance, 0.5), atol=1e-5, rtol=0)
    side = splats.means.abs().argmax(1)
    counts = torch.bincount(2 * side + (splats.means.gather(1, side[:, None])[:, 0] > 0))
    assert (counts - 1000).abs().max() < 150
    # The thin axis is that of the side.
    normals = torch.nn.functional.one_hot(side, 3).float()
    w, x, y, z = splats.quats.unbind(1)
    thin = torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], 1)
    torch.testing.assert_close(thin.abs(), normals, atol=1e-4, rtol=0)
    out = rasterize(splats, ring(4, 64, fill=0.8), torch.ones(3))
    inside = out.alpha[..., 0] > 0.98
    assert 0.2 < inside.float().mean() < 0.5
    expected = torch.tensor([0.8, 0.2, 0.1]).expand(int(inside.sum()), 3)
    torch.testing.assert_close(out.rgb[inside], expected, atol=0.03, rtol=0)


def test_colors_of_vertices_and_of_a_texture():
    colors = np.tile([[0.0, 0, 1]], (8, 1))
    colors[4:] = [1.0, 0, 0]  # x > 0
    of_vertices = splats_of_mesh(cube(colors), 2000)
    red = 0.5 + 0.28209479 * of_vertices.sh[:, 0, 0]
    torch.testing.assert_close(red, of_vertices.means[:, 0] + 0.5, atol=1e-5, rtol=0)
    square = np.array([[0, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]], np.float32)
    texture = np.zeros((8, 8, 3), np.float32)
    texture[:4, :, 1] = 1  # v < 1/2
    mesh = TexturedMesh(
        square, np.array([[0, 1, 2], [0, 2, 3]], np.int32), square, square[:, 1:], texture
    )
    of_texture = splats_of_mesh(mesh, 2000)
    green = 0.5 + 0.28209479 * of_texture.sh[:, 0, 1]
    torch.testing.assert_close(green, (of_texture.means[:, 2] < 0.5).float())


def test_a_mesh_without_an_area_is_refused():
    flat = cube()
    with pytest.raises(ValueError, match="expected a surface with an area"):
        splats_of_mesh(Mesh(0 * flat.vertices, flat.faces, flat.normals, flat.colors))
