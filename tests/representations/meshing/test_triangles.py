"""Pictures of triangles: visibility, perspective, silhouettes as large as they are, and gradients that move them the right way."""

import math

import pytest
import torch

from gs3d.core.cameras import ring
from gs3d.core.rng import generator
from gs3d.representations.dmtet.tets import marching_tetrahedra, tet_grid
from gs3d.representations.meshing import visibility
from gs3d.representations.meshing.triangles import antialias, edges_of, fragments, interpolated


def ball(resolution=16, radius=0.6, center=(0.0, 0.0, 0.0)):
    grid = tet_grid(resolution)
    points, faces = marching_tetrahedra(grid.vertices, grid.vertices.norm(dim=1) - 0.5, grid.tets)
    points = torch.nn.functional.normalize(points, dim=1) * radius
    return points + torch.tensor(center), faces


def alpha_of(points, faces, cameras, view=0):
    seen = fragments(points, faces, cameras, view)
    alpha = (seen.face >= 0)[..., None].float()
    return antialias(alpha, seen, faces, edges_of(faces))[..., 0]


def disc_px(cameras, radius):
    """Area of the silhouette of a ball at the origin, and its derivative by the radius."""
    focal, distance = float(cameras.intrinsics[0, 0, 0]), float(cameras.centers[0].norm())
    room = distance**2 - radius**2
    area = math.pi * focal**2 * radius**2 / room
    return area, math.pi * focal**2 * 2 * radius * distance**2 / room**2


def px_per_unit(cameras, distance, radius):
    """How far the middle of a ball's outline moves in the picture when the ball moves sideways: more than its own middle does."""
    return float(cameras.intrinsics[0, 0, 0]) * distance / (distance**2 - radius**2)


def right_of(cameras):
    return cameras.world_to_camera[0, 0, :3]


@pytest.mark.parametrize("size, resolution", [(64, 16), (16, 32), (200, 24)])
def test_a_ball_covers_what_it_should(size, resolution):
    cameras = ring(1, size)
    points, faces = ball(resolution)
    assert float(alpha_of(points, faces, cameras).sum()) == pytest.approx(
        disc_px(cameras, 0.6)[0], rel=0.03
    )


def test_the_silhouette_grows_with_the_ball():
    cameras = ring(1, 64)
    points, faces = ball(32)
    scale = torch.ones((), requires_grad=True)
    alpha_of(points * scale, faces, cameras).sum().backward()
    assert float(scale.grad) == pytest.approx(0.6 * disc_px(cameras, 0.6)[1], rel=0.06)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_silhouette_follows_a_shift(axis):
    cameras = ring(1, 64)
    points, faces = ball(32)
    shift = torch.zeros((), requires_grad=True)
    alpha = alpha_of(points + shift * cameras.world_to_camera[0, axis, :3], faces, cameras)
    place = torch.arange(64) + 0.5
    place = place[None, :] if axis == 0 else place[:, None]
    (alpha * place).sum().backward()  # its first moment grows by the area times the way
    expected = disc_px(cameras, 0.6)[0] * px_per_unit(
        cameras, float(cameras.centers[0].norm()), 0.6
    )
    assert float(shift.grad) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("turn", [0.0, 0.3, 0.79])
@pytest.mark.parametrize("size_px", [0.1, 0.3, 0.8])
def test_a_body_below_a_pixel_is_never_less_than_nothing(turn, size_px):
    cameras = ring(1, 33, elevation_deg=0.0)
    half = size_px * float(cameras.centers[0].norm() / cameras.intrinsics[0, 0, 0])
    corners = half * torch.tensor(
        [[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    )
    c, s = math.cos(turn), math.sin(turn)
    corners = corners @ torch.tensor([[1.0, 0, 0], [0, c, s], [0, -s, c]])
    faces = torch.tensor(
        [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    )
    alpha = alpha_of(corners, faces, cameras)
    assert alpha.min() >= -1e-5 and alpha.max() <= 1 + 1e-5


def test_the_area_of_a_tilted_square_is_exact():
    """Four long edges at odd angles: the mean over shifts below a pixel is the area."""
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
    areas = [float(alpha_of(square + s, faces, cameras).sum()) for s in shifts]
    assert sum(areas) / 8 == pytest.approx(per_unit**2, rel=0.01)


def test_what_is_shown_lies_behind_its_pixel():
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


def test_the_order_of_faces_changes_nothing_but_their_numbers():
    cameras = ring(1, 40)
    points, faces = ball()
    order = torch.randperm(len(faces), generator=generator(0, "order"))
    one, other = fragments(points, faces, cameras, 0), fragments(points, faces[order], cameras, 0)
    assert torch.allclose(one.depth, other.depth, rtol=1e-5)
    assert (
        alpha_of(points, faces, cameras) - alpha_of(points, faces[order], cameras)
    ).abs().max() < 1e-4


def test_a_few_pairs_at_a_time_make_the_same_picture(monkeypatch):
    cameras = ring(1, 40)
    points, faces = ball()
    whole = fragments(points, faces, cameras, 0)
    monkeypatch.setattr(visibility, "MOST_PAIRS", 50)
    assert torch.equal(fragments(points, faces, cameras, 0).face, whole.face)


def test_a_silhouette_before_another_surface_has_a_gradient_too():
    cameras = ring(1, 64, elevation_deg=0.0)
    big, faces = ball(24, 0.8)
    small, small_faces = ball(24, 0.3)
    shift = torch.zeros((), requires_grad=True)
    # The small ball hangs before the big one, towards the camera on +X, and is white.
    points = torch.cat([big, small + torch.tensor([1.1, 0, 0]) + shift * right_of(cameras)])
    both = torch.cat([faces, small_faces + len(big)])
    colors = torch.cat([torch.zeros(len(big), 1), torch.ones(len(small), 1)])
    seen = fragments(points, both, cameras, 0)
    picture = antialias(interpolated(colors, both, seen), seen, both, edges_of(both))[..., 0]
    (picture * (torch.arange(64) + 0.5)).sum().backward()
    distance = float(cameras.centers[0].norm()) - 1.1
    area = math.pi * (0.3 * float(cameras.intrinsics[0, 0, 0])) ** 2 / (distance**2 - 0.3**2)
    assert float(picture.detach().sum()) == pytest.approx(area, rel=0.05)
    assert float(shift.grad) == pytest.approx(area * px_per_unit(cameras, distance, 0.3), rel=0.15)


def test_only_pixels_at_a_silhouette_are_mixed():
    cameras = ring(1, 64)
    points, faces = ball()
    hard = (fragments(points, faces, cameras, 0).face >= 0).float()
    soft = alpha_of(points, faces, cameras)
    near = torch.nn.functional.max_pool2d(
        hard[None, None], 3, 1, 1
    ) + torch.nn.functional.max_pool2d(-hard[None, None], 3, 1, 1)
    at_edge = near[0, 0] > 0
    assert (
        torch.equal(soft[~at_edge], hard[~at_edge])
        and soft.min() >= -1e-6
        and soft.max() <= 1 + 1e-6
    )
    mixed = ((soft > 0.01) & (soft < 0.99)).sum()
    assert mixed > 0.7 * 2 * math.pi * math.sqrt(disc_px(cameras, 0.6)[0] / math.pi)


def test_attributes_get_their_gradient():
    cameras = ring(1, 24)
    points, faces = ball(8)
    colors = torch.rand(len(points), 3, generator=generator(0, "colours")).requires_grad_()
    seen = fragments(points, faces, cameras, 0)
    interpolated(colors, faces, seen).sum().backward()
    assert float(colors.grad.sum()) == pytest.approx(3 * float((seen.face >= 0).sum()), rel=1e-4)


@pytest.mark.parametrize("what", ["nothing", "behind", "no area", "open"])
def test_meshes_that_are_hardly_there(what):
    cameras = ring(1, 16)
    points, faces = torch.tensor([[0.0, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]), torch.tensor([[0, 1, 2]])
    if what == "nothing":
        faces = faces[:0]
    if what == "behind":
        points = points + 2 * cameras.centers[0]
    if what == "no area":
        points = points[:1].expand(3, 3)
    points = points.clone().requires_grad_()
    alpha = alpha_of(points, faces, cameras)
    alpha.sum().backward()
    assert torch.isfinite(alpha).all() and torch.isfinite(points.grad).all()
    assert (alpha.detach().sum() > 1) == (what == "open")


def test_edges_know_their_triangles():
    points, faces = ball(6)
    edges = edges_of(faces)
    assert len(edges.ends) == 3 * len(faces) // 2 and (edges.faces >= 0).all()
    for place in range(2):
        rows = torch.cat([edges.ends, edges.opposite[:, place : place + 1]], 1).sort(1).values
        assert torch.equal(rows, faces[edges.faces[:, place]].sort(1).values)
    assert (edges.faces[:, 0] != edges.faces[:, 1]).all()
    alone = edges_of(torch.tensor([[4, 2, 9]]))
    assert alone.ends.tolist() == [[2, 4], [2, 9], [4, 9]] and alone.faces.tolist() == [[0, -1]] * 3
    assert alone.opposite.tolist() == [[9, -1], [4, -1], [2, -1]]
