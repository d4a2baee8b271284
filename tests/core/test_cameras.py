import math

import pytest
import torch

from gs3d.core.cameras import CameraConfig, distance_for, orbit, ring, sample_cameras
from gs3d.core.errors import UserError
from gs3d.core.rng import derive_seed, generator, normal
from gs3d.core.schedules import Ramp, Steps


def project_point(cameras, point):
    world = torch.cat([torch.tensor(point), torch.ones(1)])
    in_camera = (cameras.world_to_camera @ world)[:, :3]
    pixel = (cameras.intrinsics @ in_camera[:, :, None])[:, :, 0]
    return pixel[:, :2] / pixel[:, 2:], in_camera[:, 2]


def camera_at(azimuth_deg, elevation_deg, size=64):
    angle = [torch.tensor([math.radians(a)]) for a in (azimuth_deg, elevation_deg, 40)]
    return orbit(angle[0], angle[1], torch.tensor([3.0]), angle[2], size, size)


def test_front_camera_is_on_plus_x_with_z_up_and_plus_y_to_the_right():
    camera = camera_at(0, 0)
    torch.testing.assert_close(camera.centers, torch.tensor([[3.0, 0.0, 0.0]]), atol=1e-6, rtol=0)
    center, depth = project_point(camera, [0.0, 0.0, 0.0])
    torch.testing.assert_close(center, torch.tensor([[32.0, 32.0]]))
    assert depth.item() == pytest.approx(3)
    # Image y points down.
    assert project_point(camera, [0.0, 0.0, 0.5])[0][0, 1] < 32
    assert project_point(camera, [0.0, 0.5, 0.0])[0][0, 0] > 32


@pytest.mark.parametrize("azimuth,elevation", [(0, 15), (100, -10), (-170, 70), (45, 90)])
def test_orbit_angles_round_trip_and_rotation_is_proper(azimuth, elevation):
    camera = camera_at(azimuth, elevation)
    rotation = camera.world_to_camera[0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)
    assert torch.linalg.det(rotation).item() == pytest.approx(1, abs=1e-5)
    assert math.degrees(camera.elevation_rad.item()) == pytest.approx(elevation, abs=0.05)
    if elevation < 90:
        assert math.degrees(camera.azimuth_rad.item()) == pytest.approx(azimuth, abs=0.01)


def test_fill_one_makes_the_unit_sphere_span_the_image_height():
    fovy = torch.tensor([math.radians(38)])
    distance = distance_for(fovy, 1.0).item()
    # The tangent from the camera to the unit sphere has the angle asin(1/d) to the optical axis.
    assert math.asin(1 / distance) == pytest.approx(fovy.item() / 2)


@pytest.mark.parametrize("batch", [4, 8, 12])
def test_batches_cover_all_sectors_equally(batch):
    for step in range(20):
        cameras = sample_cameras(
            CameraConfig(overhead_fraction=0.0), batch, 0.0, generator(0, "c", step)
        )
        sectors = torch.floor((cameras.azimuth_rad / (math.pi / 2)) + 0.5).long() % 4
        assert torch.bincount(sectors, minlength=4).tolist() == [batch // 4] * 4


def test_single_cameras_cover_all_sectors_over_time():
    sectors = set()
    for step in range(60):
        cameras = sample_cameras(
            CameraConfig(overhead_fraction=0.0), 1, 0.0, generator(0, "c", step)
        )
        sectors.add(int(torch.floor((cameras.azimuth_rad / (math.pi / 2)) + 0.5).item()) % 4)
    assert sectors == {0, 1, 2, 3}


def test_azimuths_are_uniform_inside_a_sector():
    azimuth = torch.cat(
        [sample_cameras(CameraConfig(), 64, 0.0, generator(1, s)).azimuth_rad for s in range(100)]
    )
    counts = torch.histc(azimuth, 24, -math.pi, math.pi)
    assert counts.min() > 0.75 * counts.mean() and counts.max() < 1.25 * counts.mean()


@pytest.mark.parametrize("batch", [5, 6, 7, 11])
def test_azimuths_are_stratified_inside_each_sector(batch):
    # Positions inside a sector are in [0, 1). If four does not divide the batch, the numbers of
    # views per sector differ by one.
    in_small_sectors = []
    for step in range(400):
        cameras = sample_cameras(CameraConfig(), batch, 0.0, generator(2, step))
        turns = (cameras.azimuth_rad.double() / (math.pi / 2) + 0.5) % 4
        for sector in range(4):
            inside = (turns[turns.long() == sector] - sector).sort().values
            views = len(inside)
            assert views in (batch // 4, -(-batch // 4))
            strata = torch.arange(views)
            assert (inside >= strata / views - 1e-4).all()
            assert (inside <= (strata + 1) / views + 1e-4).all()
            in_small_sectors += inside.tolist() if views == batch // 4 else []
    counts = torch.histc(torch.tensor(in_small_sectors), 8, 0, 1)
    assert counts.min() > 0.7 * counts.mean() and counts.max() < 1.3 * counts.mean()


def test_azimuths_of_a_multiple_of_four_match_the_formula():
    cameras = sample_cameras(CameraConfig(), 8, 0.0, generator(3))
    u = torch.rand(5, 8, generator=generator(3))[0]
    i = torch.arange(8)
    expected = (i % 4 - 0.5 + (i // 4 + u) / 2) * (math.pi / 2)
    torch.testing.assert_close(cameras.azimuth_rad.cos(), expected.cos(), atol=1e-5, rtol=0)
    torch.testing.assert_close(cameras.azimuth_rad.sin(), expected.sin(), atol=1e-5, rtol=0)


def test_cameras_are_a_function_of_seed_and_step():
    a, b = (sample_cameras(CameraConfig(), 4, 0.5, generator(7, "cameras", 3)) for _ in range(2))
    c = sample_cameras(CameraConfig(), 4, 0.5, generator(7, "cameras", 4))
    assert torch.equal(a.world_to_camera, b.world_to_camera)
    assert not torch.equal(a.world_to_camera, c.world_to_camera)


def test_resolution_follows_progress():
    config = CameraConfig(resolution_px=Steps((0.0, 0.5), (64, 128)))
    assert sample_cameras(config, 4, 0.49, generator(0)).width == 64
    assert sample_cameras(config, 4, 0.5, generator(0)).width == 128


def test_ring_starts_at_the_front_and_turns_towards_plus_y():
    cameras = ring(4, 32)
    torch.testing.assert_close(
        cameras.azimuth_rad.cos(), torch.tensor([1.0, 0.0, -1.0, 0.0]), atol=1e-6, rtol=0
    )
    assert cameras.centers[1, 1] > 0


def test_cameras_are_printed_in_one_line():
    assert repr(ring(8, 256)) == "Cameras(8 cameras, 256×256 pixels, cpu)"
    assert repr(camera_at(0, 0).to("meta")) == "Cameras(1 cameras, 64×64 pixels, meta)"


def test_ramp_values():
    assert Ramp(0.7, 0.1, "sqrt")(0.25) == pytest.approx(0.7 - 0.6 * 0.5)  # Consistent3D, Eq. 12
    assert Ramp(50, 20)(0.5) == 35
    assert Ramp(1.0, 0.01, "exp")(0.5) == pytest.approx(0.1)
    assert Ramp(1, 2)(-1) == 1 and Ramp(1, 2)(5) == 2


@pytest.mark.parametrize("ends", [(0.0, 0.0), (1.0, 0.0), (-1.0, -2.0)])
def test_exp_ramp_requires_positive_ends(ends):
    with pytest.raises(
        ValueError, match="start, end: expected numbers above 0 for curve 'exp', got"
    ):
        Ramp(*ends, "exp")
    assert Ramp(*ends)(0.5) == sum(ends) / 2


@pytest.mark.parametrize("end", [math.inf, -math.inf, math.nan])
def test_ramp_ends_must_be_finite(end):
    with pytest.raises(ValueError, match="start, end"):
        Ramp(1.0, end)


@pytest.mark.parametrize(
    "at,values", [((0.1,), (1,)), ((0.0, 0.5), (1,)), ((0.0, 0.5, 0.4), (1, 2, 3)), ((), ())]
)
def test_invalid_steps_raise_value_error(at, values):
    with pytest.raises(ValueError, match="Steps"):
        Steps(at, values)


def test_derived_seeds_never_change():
    # A different result would silently change every run with a given seed.
    assert derive_seed(0, "cameras", 0) == derive_seed(0, "cameras", 0)
    assert derive_seed(0, "cameras", 0) != derive_seed(0, "cameras", 1)
    assert derive_seed(3, "fixed noise") == 3000729379734954527
    assert torch.equal(normal((4, 4), 1, "fixed noise"), normal((4, 4), 1, "fixed noise"))
    assert not torch.equal(normal((4, 4), 1, "fixed noise"), normal((4, 4), 2, "fixed noise"))


def test_draws_split_a_stage_into_equal_parts():
    every_step = CameraConfig()
    assert [every_step.draw(step, step / 8) for step in range(8)] == list(range(8))
    resampled = CameraConfig(draws=4)
    assert [resampled.draw(step, step / 8) for step in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    hundred = CameraConfig(draws=100)
    assert [hundred.draw(step, step / 100) for step in range(100)] == list(range(100))


@pytest.mark.parametrize("count, size", [(0, 64), (-1, 64), (8.5, 64), (8, 0), ("a", 64)])
def test_ring_rejects_invalid_count_and_size(count, size):
    with pytest.raises(UserError, match="expected a whole number, 1 or more"):
        ring(count, size)


def test_cameras_of_a_group_are_90_degrees_apart_and_share_other_parameters():
    config = CameraConfig(overhead_fraction=0.3)
    for step in range(30):
        cameras = sample_cameras(config, 8, 0.0, generator(0, "g", step), together=4)
        azimuth = cameras.azimuth_rad.rad2deg().view(2, 4)
        assert (azimuth[:, 0].abs() <= 45 + 1e-3).all()
        # Close to the pole, azimuths computed from camera positions are inaccurate.
        if cameras.elevation_rad.max() < math.radians(84):
            torch.testing.assert_close(
                (azimuth[:, 1:] - azimuth[:, :-1]) % 360,
                torch.full((2, 3), 90.0),
                atol=0.05,
                rtol=0,
            )
        for value in (
            cameras.elevation_rad,
            cameras.centers.norm(dim=1),
            cameras.intrinsics[:, 0, 0],
        ):
            torch.testing.assert_close(
                value.view(2, 4), value.view(2, 4)[:, :1].expand(2, 4), atol=1e-4, rtol=1e-4
            )
    for batch, together in ((6, 4), (6, 3)):
        with pytest.raises(
            ValueError, match=f"groups of 4, got batch={batch}, together={together}"
        ):
            sample_cameras(config, batch, 0.0, generator(0), together)


def jittered(jitter, together=1, batch=8, seed=3):
    config = CameraConfig(aim_jitter=jitter)
    return sample_cameras(config, batch, 0.0, generator(seed, "c", 0), together)


def test_aim_jitter_shifts_the_image_and_keeps_the_directions():
    still, shifted = jittered(0.0), jittered(0.2)
    torch.testing.assert_close(
        still.world_to_camera[:, :3, :3], shifted.world_to_camera[:, :3, :3], atol=0, rtol=0
    )
    shift = (shifted.world_to_camera - still.world_to_camera)[:, :, 3]
    assert shift[:, 2:].abs().max() == 0
    assert shift.abs().max() <= 0.2
    # Both directions, and no two cameras alike.
    assert len(shift[:, :2].unique(dim=0)) == 8
    assert shift[:, 0].std() > 0.03 and shift[:, 1].std() > 0.03


def test_views_of_a_group_share_their_shift():
    shift = (jittered(0.2, together=4).world_to_camera - jittered(0.0, 4).world_to_camera)[:, :2, 3]
    torch.testing.assert_close(shift[:4], shift[:1].expand(4, 2))
    torch.testing.assert_close(shift[4:], shift[4:5].expand(4, 2))
    assert not torch.allclose(shift[0], shift[4])


@pytest.mark.parametrize("jitter", [-0.1, 1.5, math.nan])
def test_aim_jitter_has_a_range(jitter):
    with pytest.raises(ValueError, match="aim_jitter"):
        CameraConfig(aim_jitter=jitter)
