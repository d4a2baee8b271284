"""The distance functions of the tracer: 0 on the surface, right by sign and length beside it, for every primitive, turned and moved."""

import math

import numpy as np
import pytest

from gs3d.world._tracer import _distance
from gs3d.world.parts import BOX, CONE, ELLIPSOID, GABLE, TORUS, TUBE, Part, table, turn

CENTRE = (0.1, -0.2, 0.3)
TURNED = np.asarray(turn("z", 30)) @ np.asarray(turn("x", 50))


def distance(shape, size, local, rounding=0.0):
    """Signed distance of the point `local` of the part's own frame, by way of the world."""
    part = Part(shape, size, CENTRE, "main", rotation=tuple(map(tuple, TURNED)), rounding=rounding)
    row = table([part], {"main": (1.0, 0.0, 0.0)}, 0, (0.0, 0.0, 0.0))[0]
    return _distance(row, *(TURNED @ np.asarray(local, float) + CENTRE))[0]


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
    (CONE, (0.5, 0.2, 0.4), (0.35, 0.0, 0.0), tuple(np.array([0.8, 0, 0.3]) / math.hypot(0.8, 0.3))),
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
    # Along the normal the length is exact for all but the ellipsoid, whose estimate is of first order.
    for step in (-0.02, 0.02):
        tolerance = 3e-3 if shape == ELLIPSOID else 1e-5
        assert distance(shape, size, point + step * normal) == pytest.approx(step, abs=tolerance)


def test_far_away_the_distance_is_never_more_than_the_way_to_the_surface():
    rng = np.random.default_rng(0)
    for shape, size, point, _ in SURFACES:
        for _ in range(20):
            direction = rng.normal(size=3)
            far = np.asarray(point) + rng.uniform(0.1, 1.5) * direction / np.linalg.norm(direction)
            assert distance(shape, size, far) <= np.linalg.norm(far - point) * (1.05 if shape == ELLIPSOID else 1 + 1e-5)


def test_corners_of_a_box_are_outside_by_the_diagonal_and_rounding_takes_them_off():
    corner = np.array([0.3, 0.4, 0.5])
    assert distance(BOX, (0.3, 0.4, 0.5), corner + 0.1) == pytest.approx(0.1 * math.sqrt(3), abs=1e-5)
    assert distance(BOX, (0.3, 0.4, 0.5), corner, rounding=0.1) == pytest.approx(0.1 * (math.sqrt(3) - 1), abs=1e-5)
    assert distance(BOX, (0.3, 0.4, 0.5), (0.3, 0, 0), rounding=0.1) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("shape", "size"), [(TORUS, (0.5, 0.1, 0.0)), (TUBE, (0.4, 0.05, 0.3))])
def test_the_hole_of_a_ring_is_outside(shape, size):
    assert distance(shape, size, (0, 0, 0)) == pytest.approx(size[0] - size[1], abs=1e-5)
