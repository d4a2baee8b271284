"""Noise on the surface of an object: as random as fresh noise, and equal in neighboring views."""

import math

import pytest
import torch

from gs3d.core.cameras import distance_for, orbit, rays
from gs3d.guidance.noise import LIFETIME, SurfacePoints, noise_for

SIZE = 64
"""Side of the latents, if not said otherwise."""


def ball_from(azimuth_deg: float, size: int = SIZE) -> SurfacePoints:
    """What a camera sees of a ball of radius 0.8."""
    angle, fovy = torch.tensor([math.radians(azimuth_deg)]), torch.tensor([math.radians(38)])
    cameras = orbit(angle, torch.zeros(1), distance_for(fovy, 0.95), fovy, size, size)
    directions, _ = rays(cameras)
    center = cameras.centers[:, None, None]
    middle = -(center * directions).sum(-1)
    root = middle.square() - center.square().sum(-1) + 0.8**2
    points = center + (middle - root.clamp_min(0).sqrt())[..., None] * directions
    return SurfacePoints(points, root > 0)


def surface_noise(
    azimuth_deg: float, seed: int = 0, step: int = 0, size: int = SIZE
) -> torch.Tensor:
    z0 = torch.zeros(1, 3, size, size)
    return noise_for("surface", z0, 1, seed, step, ball_from(azimuth_deg, size))


@pytest.mark.parametrize("size", [32, 64, 128])
def test_it_is_white_with_variance_1(size):
    noise = torch.cat([surface_noise(0, seed, size=size) for seed in range(8)])
    solid = ball_from(0, size).solid[0]
    assert noise[:, :, solid].mean().abs() < 0.03
    assert noise[:, :, solid].std() == pytest.approx(1, abs=0.03)
    part = slice(size // 3, 2 * size // 3)
    middle = noise[:, :, part, part]
    for dim in (2, 3):
        neighbors = (middle * middle.roll(1, dim)).narrow(dim, 1, middle.shape[dim] - 1).mean()
        assert abs(neighbors) < 0.1
    assert (middle[:, 0] * middle[:, 1]).mean().abs() < 0.05


def test_views_agree_on_the_surface_and_nowhere_else():
    one, other = surface_noise(0), surface_noise(0.0001)
    solid = ball_from(0).solid[:, None].expand_as(one)
    assert (one[solid] * other[solid]).mean() > 0.9
    # 10° apart, the middle of the ball has moved by 0.14, four pixels.
    front, turned = surface_noise(0), surface_noise(10)
    shifts = [(front * turned.roll(s, 3))[..., 16:48, 24:40].mean().item() for s in range(-8, 9)]
    assert max(shifts) > 0.35 and sorted(shifts)[-3] < 0.3


def test_it_changes_slowly_and_with_the_seed():
    first = surface_noise(0)
    solid = ball_from(0).solid[:, None].expand_as(first)

    def correlation(other):
        return (first[solid] * other[solid]).mean().item()

    assert torch.equal(first, surface_noise(0))
    assert correlation(surface_noise(0, step=1)) > 0.99
    assert abs(correlation(surface_noise(0, step=LIFETIME))) < 0.05
    assert abs(correlation(surface_noise(0, seed=1))) < 0.05


def test_pixels_off_the_surface_have_fresh_noise():
    z0, nowhere = torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.bool)
    noise = noise_for("surface", z0, 1, 0, 3, SurfacePoints(torch.zeros(2, 8, 8, 3), nowhere))
    assert torch.equal(noise, noise_for("fresh", z0, 1, 0, 3))


def test_latents_are_smaller_than_renders():
    noise = noise_for("surface", torch.zeros(1, 4, 16, 16), 1, 0, 0, ball_from(0))
    assert noise.shape == (1, 4, 16, 16) and noise.std() == pytest.approx(1, abs=0.1)


def test_it_needs_the_points():
    with pytest.raises(ValueError, match="noise: surface: expected the points"):
        noise_for("surface", torch.zeros(1, 3, 8, 8), 1, 0, 0)
