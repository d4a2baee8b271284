"""The triangle rasterizer: visibility, perspective, antialiased silhouettes and gradients."""

import math

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.representations.dmtet.tets import marching_tetrahedra, tet_grid
from gs3d.representations.meshing import visibility
from gs3d.representations.meshing.triangles import antialias, edges_of, fragments, interpolated


def ball(resolution=16, radius=0.6, center=(0.0, 0.0, 0.0)):
    """Return the vertices and faces of a sphere."""
    grid = tet_grid(resolution)
    points, faces = marching_tetrahedra(grid.vertices, grid.vertices.norm(dim=1) - 0.5, grid.tets)
    points = torch.nn.functional.normalize(points, dim=1) * radius
    return points + torch.tensor(center), faces


def alpha_of(points, faces, cameras, view=0):
    """Return the antialiased alpha [H, W] of a mesh."""
    seen = fragments(points, faces, cameras, view)
    alpha = (seen.face >= 0)[..., None].float()
    return antialias(alpha, seen, faces, edges_of(faces))[..., 0]


def silhouette_area(cameras, radius):
    """Return the silhouette area of a ball at the origin and its derivative by the radius."""
    focal, distance = float(cameras.intrinsics[0, 0, 0]), float(cameras.centers[0].norm())
    tangent = distance**2 - radius**2  # squared length of the tangents from the camera
    area = math.pi * focal**2 * radius**2 / tangent
    return area, math.pi * focal**2 * 2 * radius * distance**2 / tangent**2


def px_per_unit(cameras, distance, radius):
    """Return the speed of the silhouette's centroid when the ball moves sideways.

    It is faster than the projection of the ball's center.
    """
    return float(cameras.intrinsics[0, 0, 0]) * distance / (distance**2 - radius**2)


def right_of(cameras):
    """Return the unit vector [3] to the right of the first camera."""
    return cameras.world_to_camera[0, 0, :3]


@pytest.mark.parametrize("size, resolution", [(64, 16), (16, 32), (200, 24)])
def test_silhouette_area_of_a_ball(size, resolution):
    cameras = ring(1, size)
    points, faces = ball(resolution)
    assert float(alpha_of(points, faces, cameras).sum()) == pytest.approx(
        silhouette_area(cameras, 0.6)[0], rel=0.03
    )


def test_gradient_of_the_silhouette_area_by_the_radius():
    cameras = ring(1, 64)
    points, faces = ball(32)
    scale = torch.ones((), requires_grad=True)
    alpha_of(points * scale, faces, cameras).sum().backward()
    assert float(scale.grad) == pytest.approx(0.6 * silhouette_area(cameras, 0.6)[1], rel=0.06)


@pytest.mark.parametrize("axis", [0, 1])
def test_gradient_of_the_silhouette_by_a_shift(axis):
    cameras = ring(1, 64)
    points, faces = ball(32)
    shift = torch.zeros((), requires_grad=True)
    alpha = alpha_of(points + shift * cameras.world_to_camera[0, axis, :3], faces, cameras)
    place = torch.arange(64) + 0.5
    place = place[None, :] if axis == 0 else place[:, None]
    (alpha * place).sum().backward()  # the first moment grows by area times shift
    expected = silhouette_area(cameras, 0.6)[0] * px_per_unit(
        cameras, float(cameras.centers[0].norm()), 0.6
    )
    assert float(shift.grad) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("turn", [0.0, 0.3, 0.79])
@pytest.mark.parametrize("size_px", [0.1, 0.3, 0.8])
def test_alpha_of_an_object_smaller_than_a_pixel_is_in_range(turn, size_px):
    cameras = ring(1, 33, elevation_deg=0.0)
    half = size_px * float(cameras.centers[0].norm() / cameras.intrinsics[0, 0, 0])
    vertices = half * torch.tensor(
        [[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    )
    c, s = math.cos(turn), math.sin(turn)
    vertices = vertices @ torch.tensor([[1.0, 0, 0], [0, c, s], [0, -s, c]])
    faces = torch.tensor(
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    )
    alpha = alpha_of(vertices, faces, cameras)
    assert alpha.min() >= -1e-5 and alpha.max() <= 1 + 1e-5


def test_area_of_a_rotated_square():
    """The alpha sum of a square with slanted edges, averaged over subpixel shifts, is its area."""
    cameras = ring(1, 48, elevation_deg=0.0)
    turn = torch.tensor(0.4)
    y, z = torch.tensor([[-0.5, 0.5, 0.5, -0.5], [-0.5, -0.5, 0.5, 0.5]])
    square = torch.stack(
        [torch.zeros(4), turn.cos() * y - turn.sin() * z, turn.sin() * y + turn.cos() * z], 1
    )
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    per_unit = float(cameras.intrinsics[0, 0, 0] / cameras.centers[0].norm())
    shifts = (
        torch.rand(8, 3, generator=generator(0, "shifts")) * torch.tensor([0, 1.0, 1.0]) / per_unit
    )
    sums = [float(alpha_of(square + s, faces, cameras).sum()) for s in shifts]
    assert sum(sums) / 8 == pytest.approx(per_unit**2, rel=0.01)


def test_interpolated_positions_project_to_their_pixels():
    cameras = ring(3, 32)
    points, faces = ball()
    for view in range(3):
        seen = fragments(points, faces, cameras, view)
        where = interpolated(points, faces, seen)[seen.face >= 0]
        local = (
            where @ cameras.world_to_camera[view, :3, :3].T + cameras.world_to_camera[view, :3, 3]
        )
        k = cameras.intrinsics[view]
        pixel = local[:, :2] / local[:, 2:] * torch.stack([k[0, 0], k[1, 1]]) + k[:2, 2]
        rows, columns = (seen.face >= 0).nonzero().T
        assert torch.allclose(pixel, torch.stack([columns, rows], 1) + 0.5, atol=1e-3)
        assert torch.allclose(local[:, 2], seen.depth[seen.face >= 0], rtol=1e-4)
        assert (local[:, 2] < cameras.centers[view].norm()).all()  # the near side of the ball


def test_face_order_does_not_change_the_image():
    cameras = ring(1, 40)
    points, faces = ball()
    order = torch.randperm(len(faces), generator=generator(0, "order"))
    depth, permuted = (fragments(points, f, cameras, 0).depth for f in (faces, faces[order]))
    assert torch.allclose(depth, permuted, rtol=1e-5)
    alpha, permuted = (alpha_of(points, f, cameras) for f in (faces, faces[order]))
    assert (alpha - permuted).abs().max() < 1e-4


def test_small_batches_of_pairs_give_the_same_image(monkeypatch):
    cameras = ring(1, 40)
    points, faces = ball()
    expected = fragments(points, faces, cameras, 0)
    monkeypatch.setattr(visibility, "MOST_PAIRS", 50)
    assert torch.equal(fragments(points, faces, cameras, 0).face, expected.face)


def test_silhouette_in_front_of_another_surface_has_a_gradient():
    cameras = ring(1, 64, elevation_deg=0.0)
    big, faces = ball(24, 0.8)
    small, small_faces = ball(24, 0.3)
    shift = torch.zeros((), requires_grad=True)
    # The small white ball is in front of the big black one; the camera is on +X.
    points = torch.cat([big, small + torch.tensor([1.1, 0, 0]) + shift * right_of(cameras)])
    both = torch.cat([faces, small_faces + len(big)])
    colors = torch.cat([torch.zeros(len(big), 1), torch.ones(len(small), 1)])
    seen = fragments(points, both, cameras, 0)
    image = antialias(interpolated(colors, both, seen), seen, both, edges_of(both))[..., 0]
    (image * (torch.arange(64) + 0.5)).sum().backward()
    distance = float(cameras.centers[0].norm()) - 1.1
    area = math.pi * (0.3 * float(cameras.intrinsics[0, 0, 0])) ** 2 / (distance**2 - 0.3**2)
    assert float(image.detach().sum()) == pytest.approx(area, rel=0.05)
    assert float(shift.grad) == pytest.approx(area * px_per_unit(cameras, distance, 0.3), rel=0.15)


def test_antialiasing_changes_only_pixels_at_silhouettes():
    cameras = ring(1, 64)
    points, faces = ball()
    hard = (fragments(points, faces, cameras, 0).face >= 0).float()
    soft = alpha_of(points, faces, cameras)
    pool = torch.nn.functional.max_pool2d
    at_edge = (pool(hard[None, None], 3, 1, 1) + pool(-hard[None, None], 3, 1, 1))[0, 0] > 0
    assert torch.equal(soft[~at_edge], hard[~at_edge])
    assert soft.min() >= -1e-6 and soft.max() <= 1 + 1e-6
    mixed = ((soft > 0.01) & (soft < 0.99)).sum()
    assert mixed > 0.7 * 2 * math.pi * math.sqrt(silhouette_area(cameras, 0.6)[0] / math.pi)


def test_vertex_attributes_get_gradients():
    cameras = ring(1, 24)
    points, faces = ball(8)
    colors = torch.rand(len(points), 3, generator=generator(0, "colours")).requires_grad_()
    seen = fragments(points, faces, cameras, 0)
    interpolated(colors, faces, seen).sum().backward()
    assert float(colors.grad.sum()) == pytest.approx(3 * float((seen.face >= 0).sum()), rel=1e-4)


@pytest.mark.parametrize("kind", ["empty", "behind", "degenerate", "open"])
def test_degenerate_meshes_give_finite_values(kind):
    cameras = ring(1, 16)
    points, faces = torch.tensor([[0.0, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]), torch.tensor([[0, 1, 2]])
    if kind == "empty":
        faces = faces[:0]
    if kind == "behind":
        points = points + 2 * cameras.centers[0]
    if kind == "degenerate":
        points = points[:1].expand(3, 3)
    points = points.clone().requires_grad_()
    alpha = alpha_of(points, faces, cameras)
    alpha.sum().backward()
    assert torch.isfinite(alpha).all() and torch.isfinite(points.grad).all()
    assert (alpha.detach().sum() > 1) == (kind == "open")


def test_edges_refer_to_their_triangles():
    points, faces = ball(6)
    edges = edges_of(faces)
    assert len(edges.ends) == 3 * len(faces) // 2 and (edges.faces >= 0).all()
    for place in range(2):
        rows = torch.cat([edges.ends, edges.opposite[:, place : place + 1]], 1).sort(1).values
        assert torch.equal(rows, faces[edges.faces[:, place]].sort(1).values)
    assert (edges.faces[:, 0] != edges.faces[:, 1]).all()
    single = edges_of(torch.tensor([[4, 2, 9]]))
    assert single.ends.tolist() == [[2, 4], [2, 9], [4, 9]]
    assert single.faces.tolist() == [[0, -1]] * 3
    assert single.opposite.tolist() == [[9, -1], [4, -1], [2, -1]]
