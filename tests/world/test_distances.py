"""The distance functions of the tracer: 0 on the surface, right by sign and length beside it, for every primitive, turned and moved."""

import math

import numpy as np
import pytest

from gs3d.world.parts import BOX, CONE, ELLIPSOID, GABLE, TORUS, TUBE, Part, table, turn
from gs3d.world.tracer.kernels import _distance

CENTER = (0.1, -0.2, 0.3)
TURNED = np.asarray(turn("z", 30)) @ np.asarray(turn("x", 50))


def distance(shape, size, local, rounding=0.0):
    """Signed distance of the point `local` of the part's own frame, by way of the world."""
    part = Part(shape, size, CENTER, "main", rotation=tuple(map(tuple, TURNED)), rounding=rounding)
    row = table([part], {"main": (1.0, 0.0, 0.0)}, 0, (0.0, 0.0, 0.0))[0]
    return _distance(row, *(TURNED @ np.asarray(local, float) + CENTER))[0]


HALF = math.sqrt(0.5)
# shape, size, a point of the surface, the unit normal there
SURFACES = [
    (ELLIPSOID, (0.5, 0.5, 0.5), (0.3, 0.0, 0.4), (0.6, 0.0, 0.8)),
    (ELLIPSOID, (0.6, 0.4, 0.3), (0.0, 0.4, 0.0), (0, 1, 0)),
    (ELLIPSOID, (0.6, 0.4, 0.3), (0.0, 0.0, -0.3), (0, 0, -1)),
    (BOX, (0.3, 0.4, 0.5), (0.3, 0.1, -0.2), (1, 0, 0)),
    (BOX, (0.3, 0.4, 0.5), (0.1, -0.4, 0.2), (0, -1, 0)),
    (BOX, (0.3, 0.4, 0.5), (0.1, 0.1, 0.5), (0, 0, 1)),
    (CONE, (0.3, 0.3, 0.5), (0.3 * HALF, 0.3 * HALF, 0.1), (HALF, HALF, 0)),
    (CONE, (0.5, 0.2, 0.4), (0.1, 0.0, 0.4), (0, 0, 1)),
    (CONE, (0.5, 0.2, 0.4), (0.1, 0.2, -0.4), (0, 0, -1)),
    # half-way up the slant the radius is 0.35; the normal leans up by (0.5 − 0.2) over 0.8
    (
        CONE,
        (0.5, 0.2, 0.4),
        (0.35, 0.0, 0.0),
        tuple(np.array([0.8, 0, 0.3]) / math.hypot(0.8, 0.3)),
    ),
    (TORUS, (0.5, 0.1, 0.0), (0.6, 0.0, 0.0), (1, 0, 0)),
    (TORUS, (0.5, 0.1, 0.0), (0.0, 0.5, 0.1), (0, 0, 1)),
    (TUBE, (0.4, 0.05, 0.3), (0.45, 0.0, 0.1), (1, 0, 0)),
    (TUBE, (0.4, 0.05, 0.3), (0.0, 0.35, 0.1), (0, -1, 0)),
    (TUBE, (0.4, 0.05, 0.3), (0.4, 0.0, 0.3), (0, 0, 1)),
    (GABLE, (0.4, 0.3, 0.2), (0.4, 0.05, -0.1), (1, 0, 0)),
    (GABLE, (0.4, 0.3, 0.2), (0.1, 0.05, -0.2), (0, 0, -1)),
    (GABLE, (0.4, 0.3, 0.2), (0.0, 0.15, 0.0), (0, 0.8, 0.6)),
]


@pytest.mark.parametrize(("shape", "size", "point", "normal"), SURFACES)
def test_zero_on_the_surface_positive_outside_negative_inside(shape, size, point, normal):
    point, normal = np.asarray(point), np.asarray(normal, float)
    assert distance(shape, size, point) == pytest.approx(0, abs=1e-5)
    for step in (-0.02, 0.02):
        assert distance(shape, size, point + step * normal) == pytest.approx(step, abs=1e-5)


def test_far_away_the_distance_is_never_more_than_the_way_to_the_surface():
    rng = np.random.default_rng(0)
    for shape, size, point, _ in SURFACES:
        for _ in range(20):
            direction = rng.normal(size=3)
            far = np.asarray(point) + rng.uniform(0.1, 1.5) * direction / np.linalg.norm(direction)
            assert distance(shape, size, far) <= np.linalg.norm(far - point) * (1 + 1e-5)


@pytest.mark.parametrize(
    "size", [(0.5, 0.5, 0.5), (0.6, 0.4, 0.3), (0.9, 0.05, 0.2), (0.1, 0.8, 0.8)]
)
def test_distance_to_an_ellipsoid_is_that_to_the_nearest_of_many_points_on_it(size):
    rng = np.random.default_rng(0)
    index = np.arange(200_000) + 0.5
    polar, turned = np.arccos(1 - 2 * index / len(index)), index * math.pi * (3 - math.sqrt(5))
    surface = (
        np.stack(
            [np.sin(polar) * np.cos(turned), np.sin(polar) * np.sin(turned), np.cos(polar)], axis=1
        )
        * size
    )
    for point in [
        *rng.uniform(-1.2, 1.2, (20, 3)),
        *rng.uniform(-0.6, 0.6, (10, 3)) * size,
        np.zeros(3),
        np.array([0.01, 0, 0]),
    ]:
        sign = 1 if ((point / size) ** 2).sum() > 1 else -1
        assert distance(ELLIPSOID, size, point) == pytest.approx(
            sign * np.linalg.norm(surface - point, axis=1).min(), abs=2e-3
        )


@pytest.mark.parametrize("size", [(0.5, 0.5, 0.5), (0.6, 0.4, 0.3), (0.9, 0.05, 0.2)])
def test_distance_to_an_ellipsoid_grows_by_one_along_its_normals(size):
    rng = np.random.default_rng(1)
    for direction in rng.normal(size=(20, 3)):
        point = direction / np.linalg.norm(direction) * size
        normal = point / np.square(size)
        normal /= np.linalg.norm(normal)
        for step in (0.0, 1e-3, 0.1, 1.0):
            assert distance(ELLIPSOID, size, point + step * normal) == pytest.approx(step, abs=2e-5)


def test_corners_of_a_box_are_outside_by_the_diagonal_and_rounding_takes_them_off():
    corner = np.array([0.3, 0.4, 0.5])
    assert distance(BOX, (0.3, 0.4, 0.5), corner + 0.1) == pytest.approx(
        0.1 * math.sqrt(3), abs=1e-5
    )
    assert distance(BOX, (0.3, 0.4, 0.5), corner, rounding=0.1) == pytest.approx(
        0.1 * (math.sqrt(3) - 1), abs=1e-5
    )
    assert distance(BOX, (0.3, 0.4, 0.5), (0.3, 0, 0), rounding=0.1) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("shape", "size"), [(TORUS, (0.5, 0.1, 0.0)), (TUBE, (0.4, 0.05, 0.3))])
def test_the_hole_of_a_ring_is_outside(shape, size):
    assert distance(shape, size, (0, 0, 0)) == pytest.approx(size[0] - size[1], abs=1e-5)
