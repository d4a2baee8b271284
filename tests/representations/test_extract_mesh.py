"""What comes out at the end: pictures of meshes beside the world's own tracer, and meshes of fields and surfaces."""

import dataclasses

import numpy as np
import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.core.normals import facing
from gs3d.core.types import Mesh
from gs3d.representations.asset import draw, primitive_count
from gs3d.representations.dmtet.dmtet import Dmtet, DmtetConfig
from gs3d.representations.extract_mesh import mesh_of
from gs3d.representations.nerf.field import FieldConfig
from gs3d.representations.nerf.hashgrid import HashGridConfig
from gs3d.representations.nerf.nerf import Nerf, NerfConfig
from gs3d.world.mesh import mesh_of as true_mesh
from gs3d.world.render import render
from gs3d.world.sample import sample

FIELD = FieldConfig(grid=HashGridConfig(levels=3, log2_size=10, coarsest=4, finest=16), hidden=8)


def closed_edges(faces: np.ndarray) -> bool:
    """Whether each directed edge has its opposite."""
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return sorted(map(tuple, sides)) == sorted(map(tuple, sides[:, ::-1]))


@pytest.mark.parametrize("kind", ["car", "mug"])
def test_a_mesh_is_drawn_as_the_world_draws_the_object(kind):
    parts = sample(np.random.default_rng(3), kind=kind, plain=True).parts
    cameras = ring(3, 96)
    ours, true = draw(true_mesh(parts, 160), cameras, (0.0, 0.0, 0.0)), render([parts] * 3, cameras)
    alpha = torch.from_numpy(true.alpha)
    assert (ours.alpha[..., 0] - alpha).abs().mean() < 0.006
    both = (ours.alpha[..., 0] > 0.99) & (alpha > 0.99)
    apart = (ours.depth[..., 0] - torch.from_numpy(true.depth)).abs()[both]
    assert apart.median() < 0.005
    seen = facing(ours.normal, ours.alpha, cameras)
    assert (seen - torch.from_numpy(true.facing(cameras))).abs().mean() < 0.01


def test_a_texture_shows_where_it_lies_and_its_seams_do_not():
    surface = Dmtet.ball(DmtetConfig(resolution=16, field=FIELD), 0.6, 0)
    painted = dataclasses.replace(
        mesh_of(surface), colors=lambda points, normals: 0.5 + 0.5 * points
    )
    cameras = ring(4, 64)
    flat, textured = (
        draw(made, cameras, (0.5, 0.5, 0.5)) for made in (painted.colored(), painted.textured(256))
    )
    assert torch.equal(flat.alpha, textured.alpha)
    assert (flat.rgb - textured.rgb).abs().max() < 0.03
    inside = flat.alpha[..., 0] == 1
    assert inside.float().mean() > 0.2


def test_a_mesh_of_one_triangle_has_its_corners_colors():
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
    # Seen from the front, the object's left is on the right.
    assert (
        out.rgb[0, 44, 42].argmax() == 1
        and out.rgb[0, 44, 22].argmax() == 0
        and primitive_count(mesh) == 1
    )


@pytest.mark.parametrize("shape", ["nerf", "dmtet"])
def test_a_field_or_a_surface_becomes_a_closed_mesh_in_its_colors(shape):
    if shape == "nerf":
        made = Nerf(NerfConfig(field=FIELD), 0)
        colors = made.field
    else:
        made = Dmtet.ball(DmtetConfig(resolution=16, field=FIELD), 0.5, 0)
        colors = made.colors
    painted = mesh_of(made, faces=600)
    mesh = painted.colored()
    assert 100 < len(mesh.faces) <= 600 and closed_edges(mesh.faces)
    torch.testing.assert_close(
        torch.from_numpy(mesh.colors), colors.albedo(torch.from_numpy(mesh.vertices)).detach()
    )
    outward = (mesh.normals * mesh.vertices).sum(1) / np.linalg.norm(mesh.vertices, axis=1)
    assert np.median(outward) > 0.9


def test_a_piece_that_floats_is_left_out():
    surface = Dmtet.ball(DmtetConfig(resolution=24, field=FIELD), 0.6, 0)
    corner = (surface.grid.vertices - torch.tensor([0.85, 0.85, 0.85])).norm(dim=1) < 0.1
    with torch.no_grad():
        surface.distance[corner] = -1.0
    assert surface.surface_mesh().points.max() > 0.75
    assert mesh_of(surface).vertices.max() < 0.65


def test_nothing_inside_is_no_surface():
    surface = Dmtet.ball(DmtetConfig(resolution=8, field=FIELD), 0.5, 0)
    with torch.no_grad():
        surface.distance.fill_(1.0)
    with pytest.raises(UserError, match="expected a surface, got none"):
        mesh_of(surface)


def test_normals_of_a_picture_are_red_to_the_right_green_up_blue_to_the_viewer():
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
