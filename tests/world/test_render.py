"""The sphere tracer against closed forms."""

import math

import numpy as np
import pytest
import torch

from gs3d.core.cameras import orbit, ring
from gs3d.world.mesh import distance_to
from gs3d.world.parts import MOST_PARTS, ball, box, table
from gs3d.world.render import render
from gs3d.world.sample import sample
from gs3d.world.tracer.kernels import HIT

RADIUS, DISTANCE, FOVY = 0.6, 3.0, math.radians(40)


def camera(azimuth=0.0, elevation=0.0, size=128):
    values = [torch.tensor([v]) for v in (azimuth, elevation, DISTANCE, FOVY)]
    return orbit(*values, size, size)


def objects(*parts, rgb=(0.8, 0.4, 0.2)):
    return [table(list(parts), {"main": rgb}, 0, (0.0, 0.0, 0.0))]


@pytest.fixture(scope="module")
def sphere():
    return render(objects(ball((0, 0, 0), RADIUS, "main")), camera(azimuth=0.7, elevation=0.4))


def test_the_silhouette_of_a_sphere_has_the_area_of_its_disc(sphere):
    # Seen in perspective, a centered sphere is the disc of the cone that touches it: tan = r / √(d² − r²).
    focal_px = 64 / math.tan(FOVY / 2)
    # A ray counts as a hit when it comes within HIT of the surface, so the sphere it sees is that much larger.
    radius = RADIUS + HIT
    radius_px = focal_px * radius / math.sqrt(DISTANCE**2 - radius**2)
    assert sphere.alpha.sum() == pytest.approx(math.pi * radius_px**2, rel=2e-3)


def test_the_middle_of_a_sphere_is_its_near_point_and_faces_the_camera(sphere):
    view = camera(azimuth=0.7, elevation=0.4)
    assert sphere.depth[0, 64, 64] == pytest.approx(DISTANCE - RADIUS, abs=5e-3)
    towards = (view.centers[0] / view.centers[0].norm()).numpy()
    np.testing.assert_allclose(sphere.normal[0, 63:65, 63:65].mean((0, 1)), towards, atol=0.02)


def test_normals_are_of_unit_length_inside_and_point_away_from_the_center(sphere):
    inside = sphere.alpha[0] == 1
    np.testing.assert_allclose(np.linalg.norm(sphere.normal[0][inside], axis=1), 1, atol=0.03)
    assert (np.abs(sphere.normal[0][~inside & (sphere.alpha[0] == 0)]) == 0).all()


def test_alpha_color_and_depth_stay_in_their_ranges(sphere):
    assert sphere.alpha.min() == 0 and sphere.alpha.max() == 1
    assert (sphere.rgb <= sphere.alpha[..., None] + 1e-6).all()  # premultiplied
    hit = sphere.alpha > 0
    assert (
        (sphere.depth[hit] > DISTANCE - 1).all()
        and (sphere.depth[hit] < DISTANCE + 1).all()
        and (sphere.depth[~hit] == 0).all()
    )
    np.testing.assert_allclose(
        sphere.rgb[0, 64, 64] / sphere.rgb[0, 64, 64, 0], (1, 0.5, 0.25), atol=1e-5
    )  # shading keeps the hue


def test_a_background_shows_where_the_object_is_not(sphere):
    colors = np.array([[0.2, 0.5, 0.9]], np.float32)
    over = sphere.over(colors[0])
    np.testing.assert_array_equal(over, sphere.over(colors))
    np.testing.assert_allclose(over[0, 0, 0], colors[0])
    np.testing.assert_array_equal(over[0, 64, 64], sphere.rgb[0, 64, 64])
    rim = (sphere.alpha[0] > 0) & (sphere.alpha[0] < 1)
    expected = sphere.rgb[0][rim] + (1 - sphere.alpha[0][rim][:, None]) * colors
    np.testing.assert_allclose(over[0][rim], expected, atol=1e-6)


def test_what_is_nearer_hides_what_is_behind():
    parts = [ball((-0.5, 0, 0), 0.4, "main"), box((0.5, 0, 0), (0.1, 0.3, 0.3), "main")]
    seen = render(objects(*parts), camera())
    assert seen.depth[0, 64, 64] == pytest.approx(DISTANCE - 0.6, abs=5e-3)
    behind = render(objects(*parts), camera(azimuth=math.pi))
    assert behind.depth[0, 64, 64] == pytest.approx(DISTANCE - 0.9, abs=5e-3)


def test_a_ball_to_the_side_is_where_the_camera_convention_says():
    seen = render(objects(ball((0, 0.5, 0.5), 0.2, "main")), camera(size=64))
    rows, columns = np.nonzero(seen.alpha[0])
    assert rows.mean() < 28 and columns.mean() > 36  # +Y is right of a camera on +X, +Z is up


def test_many_objects_with_their_own_cameras_do_not_mix():
    several = [
        *objects(ball((0, 0, 0), 0.3, "main")),
        *objects(ball((0, 0, 0), 0.6, "main"), box((0, 0, 0), (0.5, 0.2, 0.2), "main")),
    ]
    cameras = ring(2, 32)
    together = render(several, cameras)
    for i in range(2):
        np.testing.assert_array_equal(
            together.rgb[i], render([several[i]], cameras[i : i + 1]).rgb[0]
        )


def test_every_part_that_an_object_may_have_is_seen_and_no_more_are_taken():
    hidden = [ball((0, 0, 0), 0.05, "main")] * MOST_PARTS
    alone = render(objects(ball((0, 0.4, 0.2), 0.3, "main")), ring(1, 32))
    for place in (0, 31, 32, MOST_PARTS - 1):
        among = hidden[:place] + [ball((0, 0.4, 0.2), 0.3, "main")] + hidden[place + 1 :]
        seen = render(objects(*among), ring(1, 32))
        assert (seen.alpha >= alone.alpha).all() and abs(
            seen.alpha.sum() - alone.alpha.sum()
        ) < 12  # those hidden are a dot
    with pytest.raises(ValueError, match=r"1 to 63 parts, got \[64, 26\]"):
        render(objects(*hidden, hidden[0]), ring(1, 8))


def test_what_is_behind_the_camera_is_not_seen():
    inside = orbit(
        *(torch.tensor([v]) for v in (0.0, 0.0, 0.1, FOVY)), 32, 32
    )  # looks from (0.1, 0, 0) towards −X
    assert not render(objects(ball((0.6, 0, 0), 0.3, "main")), inside).alpha.any()
    before = render(objects(ball((-0.6, 0, 0), 0.3, "main")), inside)
    assert before.alpha.mean() > 0.5 and before.depth[before.alpha > 0].min() > 0.35


def test_a_ray_sees_the_surface_that_the_distance_has():
    """Rays ask only the parts on their way; where they end, no part of all is nearer."""
    made, cameras = sample(np.random.default_rng(3), "train"), ring(3, 48)
    out = render([made.parts] * 3, cameras, supersample=1)
    for view in range(3):
        v, u = np.nonzero(out.alpha[view] == 1)
        rays = np.stack(
            [
                (u + 0.5 - 24) / focal_of(cameras),
                (v + 0.5 - 24) / focal_of(cameras),
                np.ones(len(u)),
            ],
            1,
        )
        points = (
            rays * out.depth[view][v, u][:, None] @ cameras.world_to_camera[view, :3, :3].numpy()
            + cameras.centers[view].numpy()
        )
        assert np.abs(distance_to(made.parts, points)).max() < 2 * HIT


def focal_of(cameras):
    return float(cameras.intrinsics[0, 0, 0])


def test_as_many_cameras_as_objects_are_asked_for():
    with pytest.raises(
        ValueError, match="expected one camera an object, got 1 objects and 2 cameras"
    ):
        render(objects(ball((0, 0, 0), 0.3, "main")), ring(2, 16))
