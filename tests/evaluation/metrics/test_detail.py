"""Detail on images whose energy, grain, sharpness and outline are known."""

import pytest
import torch

from gs3d.evaluation.metrics.detail import Detail, detail_of

SIZE = 96
FULL = torch.ones(1, SIZE, SIZE)


def noise(std: float, seed: int = 0) -> torch.Tensor:
    gen = torch.Generator().manual_seed(seed)
    return 0.5 + std * torch.randn(1, SIZE, SIZE, 3, generator=gen)


def edges(width: float) -> torch.Tensor:
    """Stripes from 0.2 to 0.8, 16 pixels wide, with linear edges of `width` pixels."""
    x = torch.arange(SIZE) + 0.5
    phase = (x % 32 - 16).abs() - 8  # zero at the edges
    row = 0.5 + 0.6 * (phase / width).clamp(-0.5, 0.5)
    return row[None, None, :, None].expand(1, SIZE, SIZE, 3)


def disk(radius: float, width: float) -> torch.Tensor:
    """Alpha of a disk with a linear outline of `width` pixels."""
    axis = torch.arange(SIZE) + 0.5 - SIZE / 2
    distance = torch.hypot(axis[:, None], axis[None, :])
    return ((radius - distance) / width + 0.5).clamp(0, 1)[None]


def test_a_flat_image_has_no_detail_and_no_grain():
    detail = detail_of(torch.full((1, SIZE, SIZE, 3), 0.4), FULL)
    assert detail.energy == pytest.approx(0, abs=1e-12)
    assert detail.grain == pytest.approx(0, abs=1e-6) and detail.sharpness is None


@pytest.mark.parametrize("std", [0.02, 0.1])
def test_grain_is_no_detail(std):
    detail = detail_of(noise(std), FULL)
    # The blur keeps some of the noise, so less than all of it is high frequency.
    assert 0.8 * std < detail.grain < std
    assert detail.energy < 0.1 * detail.grain**2


def test_edges_are_detail_and_no_grain():
    detail = detail_of(edges(1.0), FULL)
    assert detail.energy > 1e-3 and detail.grain < 1e-3


def test_grain_does_not_hide_edges():
    clean = detail_of(edges(1.0), FULL)
    grainy = detail_of(edges(1.0) + noise(0.03) - 0.5, FULL)
    assert grainy.energy == pytest.approx(clean.energy, rel=0.15)
    assert grainy.sharpness == pytest.approx(clean.sharpness, rel=0.15)
    assert grainy.grain > 0.02


def test_blur_lowers_energy_and_sharpness():
    details = [detail_of(edges(width), FULL) for width in (1.0, 3.0, 5.0)]
    for values in ([d.energy for d in details], [d.sharpness for d in details]):
        assert values[0] > values[1] > values[2]


@pytest.mark.parametrize("width", [3.0, 5.0])
def test_sharpness_of_a_linear_edge_is_one_over_its_width(width):
    # A window of 7 pixels sees the whole edge only if it is narrower.
    assert detail_of(edges(width), FULL).sharpness == pytest.approx(1 / width, rel=0.15)


@pytest.mark.parametrize("contrast", [0.5, 1.0])
def test_sharpness_does_not_depend_on_contrast(contrast):
    images = 0.5 + contrast * (edges(2.0) - 0.5)
    assert detail_of(images, FULL).sharpness == pytest.approx(
        detail_of(edges(2.0), FULL).sharpness, rel=0.01
    )


@pytest.mark.parametrize("width", [1.5, 3.0])
def test_rim_is_the_width_of_the_outline(width):
    detail = detail_of(torch.zeros(1, SIZE, SIZE, 3), disk(30, width))
    assert detail.rim == pytest.approx(width, rel=0.1)


def test_background_and_outline_do_not_count():
    alpha = disk(30, 1.0)
    rgb = alpha[..., None] * 0.4 + (1 - alpha[..., None]) * (noise(0.3) > 0.5)
    detail = detail_of(rgb, alpha)
    assert detail.energy < 1e-6 and detail.grain < 1e-3


def test_nothing_solid_has_no_detail():
    empty = detail_of(noise(0.1), torch.zeros(1, SIZE, SIZE))
    assert empty == Detail(None, None, None, None)


def test_mean_is_over_those_that_have_a_value():
    mean = Detail.mean([Detail(1.0, None, 2.0, 3.0), Detail(3.0, None, None, 5.0)])
    assert mean == Detail(2.0, None, 2.0, 4.0)
