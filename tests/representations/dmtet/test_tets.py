"""Tetrahedra fill the cube; marching tetrahedra gives closed, outward, differentiable surfaces."""

import itertools
import math

import pytest
import torch

from gs3d.core.rng import generator
from gs3d.representations.dmtet.tets import EDGES, cases, marching_tetrahedra, tet_grid


def volumes(vertices, tets):
    """Return the signed volumes of tetrahedra."""
    a, b, c, d = vertices[tets].unbind(1)
    return torch.einsum("ni,ni->n", torch.linalg.cross(b - a, c - a), d - a) / 6


def mesh_volume(points, faces):
    """Return the signed volume of a closed mesh."""
    a, b, c = points[faces].unbind(1)
    return torch.einsum("ni,ni->n", torch.linalg.cross(a, b), c).sum().item() / 6


def is_closed(faces):
    """Return whether each directed edge occurs once, and so does its opposite."""
    directed = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    seen = {tuple(e) for e in directed}
    return len(seen) == len(directed) and all((b, a) in seen for a, b in seen)


@pytest.mark.parametrize("resolution", [1, 2, 5])
def test_tetrahedra_fill_the_cube_without_overlap(resolution):
    grid = tet_grid(resolution)
    sizes = volumes(grid.vertices, grid.tets)
    assert len(grid.vertices) == (resolution + 1) ** 3 and len(grid.tets) == 6 * resolution**3
    assert (sizes > 0).all() and float(sizes.sum()) == pytest.approx(8.0, rel=1e-5)
    points = 2 * torch.rand(200, 3, generator=generator(0, "points")) - 1
    vertices = grid.vertices[grid.tets].transpose(1, 2)
    system = torch.cat([vertices, torch.ones(len(vertices), 1, 4)], dim=1)
    right_side = torch.cat([points, torch.ones(200, 1)], dim=1)
    barycentrics = torch.linalg.solve(system[None], right_side[:, None, :, None])[..., 0]
    assert ((barycentrics > 1e-6).all(-1).sum(1) == 1).all()


def test_interior_faces_belong_to_two_tetrahedra():
    grid = tet_grid(3)
    faces = (
        torch.cat([grid.tets[:, list(f)] for f in itertools.combinations(range(4), 3)])
        .sort(1)
        .values
    )
    found, count = faces.unique(dim=0, return_counts=True)
    assert ((count == 2) | grid.border[found].all(1)).all() and (count <= 2).all()


def test_case_table_is_consistent():
    assert [len(c) for c in cases()] == [0, 1, 1, 2, 1, 2, 2, 1, 1, 2, 2, 1, 2, 1, 1, 0]
    for code, triangles in enumerate(cases()):
        for edge in itertools.chain(*triangles):
            a, b = EDGES[edge]
            assert (code >> a & 1) != (code >> b & 1)
        for triangle, opposite in zip(cases()[15 - code], triangles, strict=True):
            # Swapping inside and outside reverses the orientation of the triangle.
            if len(triangles) == 1:
                assert set(triangle) == set(opposite) and triangle not in {
                    tuple(opposite[i:] + opposite[:i]) for i in range(3)
                }


@pytest.mark.parametrize("resolution", [9, 24])
def test_ball_has_the_topology_volume_and_normals_of_a_sphere(resolution):
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


def test_torus_has_euler_characteristic_zero():
    grid = tet_grid(24)
    x, y, z = grid.vertices.T
    points, faces = marching_tetrahedra(
        grid.vertices, ((x**2 + y**2).sqrt() - 0.55) ** 2 + z**2 - 0.25**2, grid.tets
    )
    assert is_closed(faces) and len(points) - len(faces) // 2 == 0


def test_random_distances_give_a_closed_surface():
    grid = tet_grid(8)
    for seed in range(5):
        distance = torch.randn(len(grid.vertices), generator=generator(seed, "noise"))
        distance[grid.vertices.norm(dim=1) < 0.2] = 0.0  # zero counts as outside
        distance = torch.where(grid.border, 1.0, distance)
        points, faces = marching_tetrahedra(grid.vertices, distance, grid.tets)
        assert is_closed(faces) and torch.isfinite(points).all() and mesh_volume(points, faces) > 0


@pytest.mark.parametrize("distance", [1.0, -1.0])
def test_constant_sign_gives_an_empty_mesh(distance):
    grid = tet_grid(3)
    points, faces = marching_tetrahedra(
        grid.vertices, torch.full((len(grid.vertices),), distance), grid.tets
    )
    assert points.shape == (0, 3) and faces.shape == (0, 3)


def test_points_are_differentiable_in_vertices_and_distances():
    grid = tet_grid(4)
    vertices = grid.vertices.double().requires_grad_()
    distance = (grid.vertices.double().norm(dim=1) - 0.63).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, d: marching_tetrahedra(v, d, grid.tets)[0], (vertices, distance)
    )


def test_mean_radius_has_gradient_minus_one_in_the_distance():
    grid = tet_grid(24)
    offset = torch.zeros((), requires_grad=True)
    points, _ = marching_tetrahedra(
        grid.vertices, grid.vertices.norm(dim=1) - 0.6 + offset, grid.tets
    )
    points.norm(dim=1).mean().backward()
    assert float(offset.grad) == pytest.approx(-1.0, abs=0.1)
