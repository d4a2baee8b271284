"""Mesh renders against the ray tracer of the world, and meshes of fields and surfaces."""

import dataclasses

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.core.normals import facing
from gs3d.core.types import Mesh
from gs3d.representations.asset import draw, primitive_count
from gs3d.representations.dmtet.config import DmtetConfig
from gs3d.representations.dmtet.dmtet import Dmtet
from gs3d.representations.extract_mesh import mesh_of
from gs3d.representations.nerf.config import NerfConfig
from gs3d.representations.nerf.field import FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from gs3d.representations.nerf.nerf import Nerf
from gs3d.world.mesh import mesh_of as reference_mesh
from gs3d.world.render import render
from gs3d.world.sample import sample

FIELD = FieldConfig(grid=HashGridConfig(levels=3, log2_size=10, coarsest=4, finest=16), hidden=8)


def is_closed(faces: np.ndarray) -> bool:
    """Return whether each directed edge has an opposite one."""
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return sorted(map(tuple, sides)) == sorted(map(tuple, sides[:, ::-1]))


@pytest.mark.parametrize("kind", ["car", "mug"])
def test_mesh_render_matches_ray_tracer(kind):
    parts = sample(np.random.default_rng(3), kind=kind, plain=True).parts
    cameras = ring(3, 96)
    drawn = draw(reference_mesh(parts, 160), cameras, (0.0, 0.0, 0.0))
    traced = render([parts] * 3, cameras)
    alpha = torch.from_numpy(traced.alpha)
    assert (drawn.alpha[..., 0] - alpha).abs().mean() < 0.006
    both = (drawn.alpha[..., 0] > 0.99) & (alpha > 0.99)
    depth_error = (drawn.depth[..., 0] - torch.from_numpy(traced.depth)).abs()[both]
    assert depth_error.median() < 0.005
    normal_map = facing(drawn.normal, drawn.alpha, cameras)
    assert (normal_map - torch.from_numpy(traced.facing(cameras))).abs().mean() < 0.01


def test_textured_render_equals_vertex_colored_render_without_seams():
    surface = Dmtet.ball(DmtetConfig(resolution=16, field=FIELD), 0.6, 0)
    mesh = dataclasses.replace(mesh_of(surface), colors=lambda points, normals: 0.5 + 0.5 * points)
    cameras = ring(4, 64)
    colored, textured = (
        draw(asset, cameras, (0.5, 0.5, 0.5)) for asset in (mesh.colored(), mesh.textured(256))
    )
    assert torch.equal(colored.alpha, textured.alpha)
    assert (colored.rgb - textured.rgb).abs().max() < 0.03
    inside = colored.alpha[..., 0] == 1
    assert inside.float().mean() > 0.2


def test_single_triangle_interpolates_vertex_colors():
    points = np.array([[0, -0.5, -0.5], [0, 0.5, -0.5], [0, 0, 0.5]], np.float32)
    mesh = Mesh(
        points,
        np.array([[0, 1, 2]], np.int32),
        np.tile(np.array([[1, 0, 0]], np.float32), (3, 1)),
        np.eye(3, dtype=np.float32),
    )
    out = draw(mesh, ring(1, 65, elevation_deg=0), (0.0, 0.0, 0.0))
    middle = out.rgb[0, 38, 32]
    assert middle.sum() == pytest.approx(1, abs=1e-4) and middle.min() > 0.2
    # In a front view, the left side of the object is on the right of the image.
    assert (
        out.rgb[0, 44, 42].argmax() == 1
        and out.rgb[0, 44, 22].argmax() == 0
        and primitive_count(mesh) == 1
    )


@pytest.mark.parametrize("name", ["nerf", "dmtet"])
def test_mesh_is_closed_and_has_the_colors_of_the_field(name):
    if name == "nerf":
        shape = Nerf(NerfConfig(field=FIELD), 0)
        colors = shape.field
    else:
        shape = Dmtet.ball(DmtetConfig(resolution=16, field=FIELD), 0.5, 0)
        colors = shape.colors
    mesh = mesh_of(shape, faces=600).colored()
    assert 100 < len(mesh.faces) <= 600 and is_closed(mesh.faces)
    torch.testing.assert_close(
        torch.from_numpy(mesh.colors), colors.albedo(torch.from_numpy(mesh.vertices)).detach()
    )
    outward = (mesh.normals * mesh.vertices).sum(1) / np.linalg.norm(mesh.vertices, axis=1)
    assert np.median(outward) > 0.9


def test_floater_is_removed():
    surface = Dmtet.ball(DmtetConfig(resolution=24, field=FIELD), 0.6, 0)
    floater = (surface.grid.vertices - torch.tensor([0.85, 0.85, 0.85])).norm(dim=1) < 0.1
    with torch.no_grad():
        surface.distance[floater] = -1.0
    assert surface.surface_mesh().points.max() > 0.75
    assert mesh_of(surface).vertices.max() < 0.65


def test_empty_surface_raises_user_error():
    surface = Dmtet.ball(DmtetConfig(resolution=8, field=FIELD), 0.5, 0)
    with torch.no_grad():
        surface.distance.fill_(1.0)
    with pytest.raises(UserError, match="expected a surface, got none"):
        mesh_of(surface)


def test_normal_map_is_red_right_green_up_blue_towards_the_camera():
    cameras = ring(4, 2)
    right, down, forward = cameras.world_to_camera[:, :3, :3].unbind(1)
    alpha = torch.ones(4, 1, 1, 1)
    for normal, color in (
        (right, (1, 0.5, 0.5)),
        (-down, (0.5, 1, 0.5)),
        (-forward, (0.5, 0.5, 1)),
    ):
        torch.testing.assert_close(
            facing(normal[:, None, None], alpha, cameras)[:, 0, 0], torch.tensor(color).expand(4, 3)
        )
    half = facing(0.5 * right[:, None, None], 0.5 * alpha, cameras)[:, 0, 0]
    torch.testing.assert_close(half, 0.5 * torch.tensor([1.0, 0.5, 0.5]).expand(4, 3))
