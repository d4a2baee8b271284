"""The sphere tracer compared with closed-form results."""

import math

import numpy as np
import pytest
import torch

from gs3d.core.cameras import orbit, ring
from gs3d.world.mesh import distance_to
from gs3d.world.parts import MAX_PARTS, ball, box, table
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


def test_silhouette_area_of_a_sphere(sphere):
    # In perspective, a centered sphere appears as a disc. The half-angle θ of its tangent cone
    # satisfies tan θ = r / √(d² − r²).
    focal_px = 64 / math.tan(FOVY / 2)
    # A ray that comes within HIT of the surface counts as a hit, so the sphere appears larger by
    # HIT.
    radius = RADIUS + HIT
    radius_px = focal_px * radius / math.sqrt(DISTANCE**2 - radius**2)
    assert sphere.alpha.sum() == pytest.approx(math.pi * radius_px**2, rel=2e-3)


def test_depth_and_normal_at_center_of_a_sphere(sphere):
    view = camera(azimuth=0.7, elevation=0.4)
    assert sphere.depth[0, 64, 64] == pytest.approx(DISTANCE - RADIUS, abs=5e-3)
    towards = (view.centers[0] / view.centers[0].norm()).numpy()
    np.testing.assert_allclose(sphere.normal[0, 63:65, 63:65].mean((0, 1)), towards, atol=0.02)


def test_normals_have_unit_length_on_the_object_and_are_zero_outside(sphere):
    inside = sphere.alpha[0] == 1
    np.testing.assert_allclose(np.linalg.norm(sphere.normal[0][inside], axis=1), 1, atol=0.03)
    assert (np.abs(sphere.normal[0][~inside & (sphere.alpha[0] == 0)]) == 0).all()


def test_ranges_of_alpha_color_and_depth(sphere):
    assert sphere.alpha.min() == 0 and sphere.alpha.max() == 1
    assert (sphere.rgb <= sphere.alpha[..., None] + 1e-6).all()  # premultiplied
    hit = sphere.alpha > 0
    assert (sphere.depth[hit] > DISTANCE - 1).all()
    assert (sphere.depth[hit] < DISTANCE + 1).all()
    assert (sphere.depth[~hit] == 0).all()
    # Shading preserves the hue.
    center = sphere.rgb[0, 64, 64]
    np.testing.assert_allclose(center / center[0], (1, 0.5, 0.25), atol=1e-5)


def test_compositing_over_a_background(sphere):
    colors = np.array([[0.2, 0.5, 0.9]], np.float32)
    over = sphere.over(colors[0])
    np.testing.assert_array_equal(over, sphere.over(colors))
    np.testing.assert_allclose(over[0, 0, 0], colors[0])
    np.testing.assert_array_equal(over[0, 64, 64], sphere.rgb[0, 64, 64])
    rim = (sphere.alpha[0] > 0) & (sphere.alpha[0] < 1)
    expected = sphere.rgb[0][rim] + (1 - sphere.alpha[0][rim][:, None]) * colors
    np.testing.assert_allclose(over[0][rim], expected, atol=1e-6)


def test_nearer_part_occludes_farther_part():
    parts = [ball((-0.5, 0, 0), 0.4, "main"), box((0.5, 0, 0), (0.1, 0.3, 0.3), "main")]
    front = render(objects(*parts), camera())
    assert front.depth[0, 64, 64] == pytest.approx(DISTANCE - 0.6, abs=5e-3)
    back = render(objects(*parts), camera(azimuth=math.pi))
    assert back.depth[0, 64, 64] == pytest.approx(DISTANCE - 0.9, abs=5e-3)


def test_image_position_follows_camera_convention():
    image = render(objects(ball((0, 0.5, 0.5), 0.2, "main")), camera(size=64))
    rows, columns = np.nonzero(image.alpha[0])
    # For a camera on the +X axis, +Y is to the right and +Z is up.
    assert rows.mean() < 28 and columns.mean() > 36


def test_batch_equals_single_renders():
    tables = [
        *objects(ball((0, 0, 0), 0.3, "main")),
        *objects(ball((0, 0, 0), 0.6, "main"), box((0, 0, 0), (0.5, 0.2, 0.2), "main")),
    ]
    cameras = ring(2, 32)
    batch = render(tables, cameras)
    for i in range(2):
        single = render([tables[i]], cameras[i : i + 1])
        np.testing.assert_array_equal(batch.rgb[i], single.rgb[0])


def test_part_at_any_table_position_is_rendered_and_too_many_parts_raise():
    dots = [ball((0, 0, 0), 0.05, "main")] * MAX_PARTS
    large = ball((0, 0.4, 0.2), 0.3, "main")
    alone = render(objects(large), ring(1, 32))
    for position in (0, 31, 32, MAX_PARTS - 1):
        image = render(objects(*dots[:position], large, *dots[position + 1 :]), ring(1, 32))
        assert (image.alpha >= alone.alpha).all()
        # The other parts cover only a few pixels.
        assert abs(image.alpha.sum() - alone.alpha.sum()) < 12
    with pytest.raises(ValueError, match=r"1 to 63 parts, got \[64, 26\]"):
        render(objects(*dots, dots[0]), ring(1, 8))


def test_objects_behind_the_camera_are_not_rendered():
    # The camera is at (0.1, 0, 0) and faces −X.
    inside = orbit(*(torch.tensor([v]) for v in (0.0, 0.0, 0.1, FOVY)), 32, 32)
    assert not render(objects(ball((0.6, 0, 0), 0.3, "main")), inside).alpha.any()
    in_front = render(objects(ball((-0.6, 0, 0), 0.3, "main")), inside)
    assert in_front.alpha.mean() > 0.5 and in_front.depth[in_front.alpha > 0].min() > 0.35


def test_rays_end_on_the_surface():
    """Rays test only parts whose bounding spheres they cross; no other part may be nearer."""
    parts, cameras = sample(np.random.default_rng(3), "train").parts, ring(3, 48)
    renders = render([parts] * 3, cameras, supersample=1)
    focal = float(cameras.intrinsics[0, 0, 0])
    for view in range(3):
        v, u = np.nonzero(renders.alpha[view] == 1)
        rays = np.stack([(u + 0.5 - 24) / focal, (v + 0.5 - 24) / focal, np.ones(len(u))], 1)
        local = rays * renders.depth[view][v, u][:, None]
        rotation = cameras.world_to_camera[view, :3, :3].numpy()
        points = local @ rotation + cameras.centers[view].numpy()
        assert np.abs(distance_to(parts, points)).max() < 2 * HIT


def test_one_camera_per_object_is_required():
    message = "expected one camera per object, got 1 objects and 2 cameras"
    with pytest.raises(ValueError, match=message):
        render(objects(ball((0, 0, 0), 0.3, "main")), ring(2, 16))
