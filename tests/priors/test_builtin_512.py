"""The built-in network in the form of Stable Diffusion, against the built-in prior itself."""

import pytest
import torch
from torch.nn import functional

from gs3d.core import rng
from gs3d.core.cameras import ring
from gs3d.priors import ViewPrompts, describe, load
from gs3d.priors.base import guided
from gs3d.priors.builtin_512 import LATENT_SCALE, MIX, encode


@pytest.fixture(scope="module")
def pair():
    """The built-in prior, and its form of Stable Diffusion."""
    return load("builtin", "cpu"), load("builtin-512", "cpu")


def images(size, count=2, seed=0):
    small = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (size, size), mode="bicubic").movedim(1, -1)


def test_geometry_and_noise_levels_are_those_of_stable_diffusion(pair):
    _, prior = pair
    assert (prior.image_size, prior.latent_shape, prior.views) == (512, (4, 64, 64), 1)
    assert prior.sigma(1.0) == pytest.approx(14.61, abs=0.01)
    assert prior.sigma(1e-3) == pytest.approx(0.0292, abs=1e-4)


def test_channels_hold_the_colors_and_nothing_else(pair):
    _, prior = pair
    mix = torch.tensor(MIX)
    torch.testing.assert_close(mix.T @ mix, torch.eye(3))
    rgb = images(512)
    z = prior.encode(rgb)
    assert z.shape == (2, 4, 64, 64)
    assert 0.3 < float(prior.encode(images(512, 16, 1)).std()) < 2
    # At a coarse scale, decoding gives the image back.
    torch.testing.assert_close(prior.decode(z), rgb.clamp(0, 1), atol=0.05, rtol=0)


def test_encoding_is_linear_and_takes_any_size(pair):
    _, prior = pair
    a, b = images(512, seed=1), images(512, seed=2)
    half = prior.encode(0.5 * (a + b))
    torch.testing.assert_close(half, 0.5 * (prior.encode(a) + prior.encode(b)))
    gray = torch.full((1, 128, 128, 3), 0.5)
    torch.testing.assert_close(prior.encode(gray), torch.zeros(1, 4, 64, 64))


def test_denoiser_is_that_of_the_built_in_prior(pair):
    colors, prior = pair
    gen = torch.Generator().manual_seed(0)
    x = colors.encode(images(64)) + 0.7 * torch.randn(2, 3, 64, 64, generator=gen)
    text = prior.embed(["a red mushroom, front view", "a blue car, side view"])
    mix = LATENT_SCALE * torch.tensor(MIX)
    z, sigma = torch.einsum("lc,bchw->blhw", mix, x), torch.full((2,), 0.7)
    expected = torch.einsum("lc,bchw->blhw", mix, colors.denoise(x, sigma, text))
    torch.testing.assert_close(prior.denoise(z, LATENT_SCALE * sigma, text), expected)


def test_noise_where_no_color_is_does_not_reach_the_gradient(pair):
    """The gradient of SDS, ε̂ − n, stays in the space of colors: all noise across it cancels."""
    _, prior = pair
    condition = ViewPrompts.of(prior, "a red mushroom").at(ring(2, 8))
    z0 = prior.encode(images(64))
    noise = torch.randn(z0.shape, generator=torch.Generator().manual_seed(1))
    z = z0 + 0.5 * noise
    gradient = (z - guided(prior, z, 0.5, condition, 4.0)) / 0.5 - noise
    normal = torch.tensor([0.5, -0.5, -0.5, 0.5])
    assert (normal @ torch.tensor(MIX)).abs().max() == 0
    across = torch.einsum("l,blhw->bhw", normal, gradient)
    assert across.abs().max() < 1e-5 < gradient.abs().max()


def test_rough_view_words_although_exact_ones_are_known(pair):
    colors, prior = pair
    assert len(ViewPrompts.of(colors, "a red duck").views) == 120
    assert ViewPrompts.of(prior, "a red duck").views == ("front", "side", "back", "overhead")


def test_views_with_a_share_of_the_front(pair):
    _, prior = pair
    front = load("builtin-512-front", "cpu")
    words = [f"a red duck, {view} view" for view in ("front", "side", "back", "overhead")]
    plain, biased = prior.embed([*words, "a red duck"]), front.embed([*words, "a red duck"])
    torch.testing.assert_close(biased[[0, 3, 4]], plain[[0, 3, 4]])
    torch.testing.assert_close(biased[1:3], 0.7 * plain[1:3] + 0.3 * plain[0])
    assert describe(front)["name"] == front.name == "builtin-512-front"


def test_record_names_it_with_the_weights_of_the_built_in_prior(pair):
    colors, prior = map(describe, pair)
    assert prior == {**colors, "name": "builtin-512"}


@pytest.mark.parametrize("side", [64, 100, 512, 700])
def test_encoding_is_a_resizing_to_512_and_then_to_64(side):
    image = rng.normal((2, side, side, 3), 0, "image").sigmoid().requires_grad_()
    weight = rng.normal((2, 4, 64, 64), 0, "weight")

    def resized(rgb):
        x = rgb.permute(0, 3, 1, 2) * 2 - 1
        for size in (512, 64):
            x = functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
        return 2 * torch.einsum("lc,bchw->blhw", torch.tensor(MIX), x)

    found, expected = encode(image), resized(image)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    (of_found,) = torch.autograd.grad((found * weight).sum(), image)
    (of_expected,) = torch.autograd.grad((expected * weight).sum(), image)
    torch.testing.assert_close(of_found, of_expected, rtol=1e-3, atol=1e-4)
