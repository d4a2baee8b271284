"""The 3D smoothing filter: its covariance, its width over a run, files and checkpoints."""

import math

import pytest
import torch

from gs3d.core.cameras import CameraConfig, distance_for, orbit, ring, sample_cameras
from gs3d.core.schedules import Steps
from gs3d.core.types import Splats
from gs3d.raster import rasterize
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.representations.gaussians.smoothing import smoothed


def covariances(splats: Splats) -> torch.Tensor:
    """[N, 3, 3] of splats without rotation."""
    return torch.diag_embed(splats.scales.square())


def some(count: int = 5) -> Splats:
    generator = torch.Generator().manual_seed(0)
    return Splats(
        torch.randn(count, 3, generator=generator) * 0.2,
        torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        torch.rand(count, 3, generator=generator) * 0.05,
        torch.full((count,), 0.8),
        torch.zeros(count, 1, 3),
    )


def test_covariance_grows_by_the_squared_width_in_every_direction():
    splats, width = some(), 0.03
    expected = covariances(splats) + width**2 * torch.eye(3)
    torch.testing.assert_close(covariances(smoothed(splats, width)), expected)
    assert smoothed(splats, 0.0) is splats


def test_gradients_reach_the_scales_of_splats_smaller_than_the_filter():
    splats = some()
    scales = (0.2 * splats.scales).requires_grad_()
    small = Splats(splats.means, splats.quats, scales, splats.opacities, splats.sh)
    rasterize(smoothed(small, 0.03), ring(2, 32), torch.ones(3)).rgb.sum().backward()
    assert (scales.grad.abs() > 0).all()


def test_pixel_size_is_that_of_a_camera():
    cameras = CameraConfig(fovy_deg=(38.0, 38.0), fill=(0.95, 0.95))
    fovy = torch.tensor([math.radians(38)])
    one = orbit(torch.zeros(1), torch.zeros(1), distance_for(fovy, 0.95), fovy, 64, 64)
    distance = one.centers.norm()
    assert cameras.pixel_size(0.0) == pytest.approx(float(distance / one.intrinsics[0, 0, 0]))
    assert cameras.pixel_size(0.0) == pytest.approx(0.0348, abs=1e-4)


def test_pixel_size_is_that_of_the_smallest_pixel():
    config = CameraConfig(fovy_deg=(30.0, 50.0), fill=(0.8, 1.0))
    sampled = sample_cameras(config, 400, 0.0, torch.Generator().manual_seed(0))
    sizes = sampled.centers.norm(dim=1) / sampled.intrinsics[:, 0, 0]
    assert config.pixel_size(0.0) <= float(sizes.min()) <= 1.03 * config.pixel_size(0.0)


def test_width_follows_the_resolution_and_is_in_the_checkpoint():
    cameras = CameraConfig(resolution_px=Steps((0.0, 0.5), (32, 64)))
    config = GaussianConfig(count=50)
    g = Gaussians.blob(config, 0, pixel_size=cameras.pixel_size)
    raw = g.params["scales"].detach().exp()
    wide = 0.55 * cameras.pixel_size(0.0)
    torch.testing.assert_close(g.splats().scales, (raw.square() + wide**2).sqrt())
    g.render(ring(1, 16), torch.ones(3)).rgb.sum().backward()
    g.optimize(0.6, 0.01)
    assert g.smoothing == pytest.approx(wide / 2)
    again = Gaussians.from_state(g.state_tensors(), config, pixel_size=cameras.pixel_size)
    assert again.smoothing == g.smoothing
    torch.testing.assert_close(again.splats().scales, g.splats().scales)
    assert torch.equal(again.params["scales"], g.params["scales"])


def test_checkpoint_of_an_earlier_version_goes_on_without_a_filter():
    cameras, config = CameraConfig(), GaussianConfig(count=50)
    state = Gaussians.blob(config, 0, pixel_size=cameras.pixel_size).state_tensors()
    del state["smoothing"]
    for _ in range(2):
        g = Gaussians.from_state(state, config, pixel_size=cameras.pixel_size)
        g.render(ring(1, 16), torch.ones(3)).rgb.sum().backward()
        g.optimize(0.5, 0.01)
        torch.testing.assert_close(g.splats().scales, g.params["scales"].exp())
        state = g.state_tensors()


@pytest.mark.parametrize("pixels, blur_px2", [(0.0, 0.3), (0.4, 0.14), (0.55, 0.0), (0.9, 0.0)])
def test_rasterizer_adds_the_rest_of_its_blur(pixels, blur_px2):
    config, cameras = GaussianConfig(count=50, smoothing_px=pixels), ring(2, 24)
    g = Gaussians.blob(config, 0, pixel_size=CameraConfig().pixel_size)
    with torch.no_grad():
        rendered = g.render(cameras, torch.ones(3)).rgb
        expected = rasterize(g.splats(), cameras, torch.ones(3), blur_px2=blur_px2).rgb
        usual = rasterize(g.splats(), cameras, torch.ones(3)).rgb
    torch.testing.assert_close(rendered, expected, atol=2e-4, rtol=0)
    assert pixels == 0 or (rendered - usual).abs().max() > 0.002


def test_without_a_pixel_size_there_is_no_filter():
    g = Gaussians.blob(GaussianConfig(count=50), 0)
    torch.testing.assert_close(g.splats().scales, g.params["scales"].exp())
    assert "smoothing" not in g.state_tensors()


@pytest.mark.parametrize("width", [-0.1, float("nan"), 5.0])
def test_invalid_width(width):
    with pytest.raises(ValueError, match="smoothing_px: expected a number in"):
        GaussianConfig(smoothing_px=width)
