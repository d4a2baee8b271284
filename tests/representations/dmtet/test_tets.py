"""Tetrahedra fill the cube, and the surfaces that are cut from them are closed, face outwards and carry gradients."""

import itertools
import math

import pytest
import torch

from gs3d.core.rng import generator
from gs3d.representations.dmtet.tets import EDGES, cases, marching_tetrahedra, tet_grid


def volumes(vertices, tets):
    a, b, c, d = vertices[tets].unbind(1)
    return torch.einsum("ni,ni->n", torch.linalg.cross(b - a, c - a), d - a) / 6


def mesh_volume(points, faces):
    a, b, c = points[faces].unbind(1)
    return torch.einsum("ni,ni->n", torch.linalg.cross(a, b), c).sum().item() / 6


def is_closed(faces):
    """Every directed edge once, and its opposite once."""
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    seen = {tuple(e) for e in directed}
    return len(seen) == len(directed) and all((b, a) in seen for a, b in seen)


@pytest.mark.parametrize("resolution", [1, 2, 5])
def test_tetrahedra_fill_the_cube_and_overlap_nowhere(resolution):
    grid = tet_grid(resolution)
    sizes = volumes(grid.vertices, grid.tets)
    assert len(grid.vertices) == (resolution + 1) ** 3 and len(grid.tets) == 6 * resolution**3
    assert (sizes > 0).all() and float(sizes.sum()) == pytest.approx(8.0, rel=1e-5)
    points = 2 * torch.rand(200, 3, generator=generator(0, "points")) - 1
    corners = grid.vertices[grid.tets].transpose(1, 2)
    system = torch.cat([corners, torch.ones(len(corners), 1, 4)], dim=1)
    wanted = torch.cat([points, torch.ones(200, 1)], dim=1)
    shares = torch.linalg.solve(system[None], wanted[:, None, :, None])[..., 0]
    assert ((shares > 1e-6).all(-1).sum(1) == 1).all()


def test_faces_inside_the_cube_belong_to_two_tetrahedra():
    grid = tet_grid(3)
    faces = (
        torch.cat([grid.tets[:, list(f)] for f in itertools.combinations(range(4), 3)])
        .sort(1)
        .values
    )
    found, count = faces.unique(dim=0, return_counts=True)
    assert ((count == 2) | grid.border[found].all(1)).all() and (count <= 2).all()


def test_the_sixteen_cases():
    assert [len(c) for c in cases()] == [0, 1, 1, 2, 1, 2, 2, 1, 1, 2, 2, 1, 2, 1, 1, 0]
    for code, triangles in enumerate(cases()):
        for edge in itertools.chain(*triangles):
            a, b = EDGES[edge]
            assert (code >> a & 1) != (code >> b & 1)
        for triangle, opposite in zip(cases()[15 - code], triangles, strict=True):
            if len(triangles) == 1:  # inside out, the same triangle the other way round
                assert set(triangle) == set(opposite) and triangle not in {
                    tuple(opposite[i:] + opposite[:i]) for i in range(3)
                }


@pytest.mark.parametrize("resolution", [9, 24])
def test_a_ball(resolution):
    grid, radius = tet_grid(resolution), 0.7
    points, faces = marching_tetrahedra(
        grid.vertices, grid.vertices.norm(dim=1) - radius, grid.tets
    )
    assert is_closed(faces)
    assert len(points) - len(faces) // 2 == 2  # Euler: V − E + F with E = 3F/2
    assert mesh_volume(points, faces) == pytest.approx(
        4 / 3 * math.pi * radius**3, rel=3 / resolution
    )
    assert (points.norm(dim=1) - radius).abs().max() < 0.5 / resolution
    a, b, c = points[faces].unbind(1)
    outwards = torch.einsum("ni,ni->n", torch.linalg.cross(b - a, c - a), a + b + c)
    assert (outwards > -1e-9).all()


def test_a_ring_has_a_hole():
    grid = tet_grid(24)
    x, y, z = grid.vertices.T
    points, faces = marching_tetrahedra(
        grid.vertices, ((x**2 + y**2).sqrt() - 0.55) ** 2 + z**2 - 0.25**2, grid.tets
    )
    assert is_closed(faces) and len(points) - len(faces) // 2 == 0


def test_noise_of_any_kind_is_closed_when_the_border_is_outside():
    grid = tet_grid(8)
    for seed in range(5):
        distance = torch.randn(len(grid.vertices), generator=generator(seed, "noise"))
        distance[grid.vertices.norm(dim=1) < 0.2] = 0.0  # exactly on the surface counts as outside
        distance = torch.where(grid.border, 1.0, distance)
        points, faces = marching_tetrahedra(grid.vertices, distance, grid.tets)
        assert is_closed(faces) and torch.isfinite(points).all() and mesh_volume(points, faces) > 0


@pytest.mark.parametrize("distance", [1.0, -1.0])
def test_no_surface_is_an_empty_mesh(distance):
    grid = tet_grid(3)
    points, faces = marching_tetrahedra(
        grid.vertices, torch.full((len(grid.vertices),), distance), grid.tets
    )
    assert points.shape == (0, 3) and faces.shape == (0, 3)


def test_points_follow_distance_and_corners():
    grid = tet_grid(4)
    vertices = grid.vertices.double().requires_grad_()
    distance = (grid.vertices.double().norm(dim=1) - 0.63).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, d: marching_tetrahedra(v, d, grid.tets)[0], (vertices, distance)
    )


def test_a_larger_distance_makes_a_smaller_ball():
    grid = tet_grid(24)
    offset = torch.zeros((), requires_grad=True)
    points, _ = marching_tetrahedra(
        grid.vertices, grid.vertices.norm(dim=1) - 0.6 + offset, grid.tets
    )
    points.norm(dim=1).mean().backward()
    assert float(offset.grad) == pytest.approx(-1.0, abs=0.1)
