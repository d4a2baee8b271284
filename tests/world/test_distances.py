"""Distance functions of the tracer, for every primitive, rotated and translated.

The distance is 0 on the surface and has the correct sign and magnitude near it.
"""

import math

import numpy as np
import pytest

from gs3d.world.parts import BOX, CONE, ELLIPSOID, GABLE, TORUS, TUBE, Part, table, turn
from gs3d.world.tracer.kernels import _distance

CENTER = (0.1, -0.2, 0.3)
ROTATION = np.asarray(turn("z", 30)) @ np.asarray(turn("x", 50))


def distance(shape, size, local, rounding=0.0):
    """Signed distance of a point in the part's coordinates, computed in world coordinates."""
    rotation = tuple(map(tuple, ROTATION))
    part = Part(shape, size, CENTER, "main", rotation=rotation, rounding=rounding)
    row = table([part], {"main": (1.0, 0.0, 0.0)}, 0, (0.0, 0.0, 0.0))[0]
    return _distance(row, *(ROTATION @ np.asarray(local, float) + CENTER))[0]


HALF = math.sqrt(0.5)
# Shape, size, a point on the surface, and the unit normal at that point.
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
    # Halfway up the slanted side the radius is 0.35; the normal rises by (0.5 − 0.2) per 0.8.
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
def test_distance_near_surface(shape, size, point, normal):
    point, normal = np.asarray(point), np.asarray(normal, float)
    assert distance(shape, size, point) == pytest.approx(0, abs=1e-5)
    for step in (-0.02, 0.02):
        assert distance(shape, size, point + step * normal) == pytest.approx(step, abs=1e-5)


def test_distance_is_at_most_distance_to_a_surface_point():
    rng = np.random.default_rng(0)
    for shape, size, point, _ in SURFACES:
        for _ in range(20):
            direction = rng.normal(size=3)
            far = np.asarray(point) + rng.uniform(0.1, 1.5) * direction / np.linalg.norm(direction)
            assert distance(shape, size, far) <= np.linalg.norm(far - point) * (1 + 1e-5)


@pytest.mark.parametrize(
    "size", [(0.5, 0.5, 0.5), (0.6, 0.4, 0.3), (0.9, 0.05, 0.2), (0.1, 0.8, 0.8)]
)
def test_ellipsoid_distance_equals_distance_to_nearest_sampled_point(size):
    rng = np.random.default_rng(0)
    index = np.arange(200_000) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / len(index)), index * math.pi * (3 - math.sqrt(5))
    x, y, z = np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)
    surface = np.stack([x, y, z], axis=1) * size
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
def test_ellipsoid_distance_has_unit_slope_along_normals(size):
    rng = np.random.default_rng(1)
    for direction in rng.normal(size=(20, 3)):
        point = direction / np.linalg.norm(direction) * size
        normal = point / np.square(size)
        normal /= np.linalg.norm(normal)
        for step in (0.0, 1e-3, 0.1, 1.0):
            assert distance(ELLIPSOID, size, point + step * normal) == pytest.approx(step, abs=2e-5)


def test_box_distance_at_sharp_and_rounded_vertex():
    size = (0.3, 0.4, 0.5)
    beyond_vertex = distance(BOX, size, np.array(size) + 0.1)
    assert beyond_vertex == pytest.approx(0.1 * math.sqrt(3), abs=1e-5)
    rounded = distance(BOX, size, size, rounding=0.1)
    assert rounded == pytest.approx(0.1 * (math.sqrt(3) - 1), abs=1e-5)
    assert distance(BOX, size, (0.3, 0, 0), rounding=0.1) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("shape", "size"), [(TORUS, (0.5, 0.1, 0.0)), (TUBE, (0.4, 0.05, 0.3))])
def test_hole_of_torus_and_tube_is_outside(shape, size):
    assert distance(shape, size, (0, 0, 0)) == pytest.approx(size[0] - size[1], abs=1e-5)
