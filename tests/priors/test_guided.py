"""Classifier-free guidance: formula and number of evaluations."""

import pytest
import torch

from gs3d.priors.base import Condition, epsilon, guided


class Recorder:
    """A prior with D = z + σ · mean(text), which records the size of each batch."""

    def __init__(self):
        self.batches = []

    def denoise(self, z, sigma, text):
        self.batches.append(len(z))
        assert sigma.shape == (len(z),) and sigma.dtype == torch.float32
        return z + sigma[:, None, None, None] * text.mean(dim=(1, 2))[:, None, None, None]


CONDITION = Condition(text=torch.full((3, 2, 4), 2.0), negative=torch.full((3, 2, 4), 0.5))
Z = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scale, word", [(0.0, 0.5), (1.0, 2.0)])
def test_scales_zero_and_one_take_one_evaluation(scale, word):
    prior = Recorder()
    torch.testing.assert_close(guided(prior, Z, 0.5, CONDITION, scale), Z + 0.5 * word)
    assert prior.batches == [3]


@pytest.mark.parametrize("scale", [0.5, 4.0, 100.0])
def test_guidance_formula(scale):
    prior = Recorder()
    negative, text = Z + 0.5 * 0.5, Z + 0.5 * 2.0
    torch.testing.assert_close(
        guided(prior, Z, 0.5, CONDITION, scale), negative + scale * (text - negative)
    )
    assert prior.batches == [6]


def test_sigma_per_view():
    sigma = torch.tensor([0.1, 1.0, 5.0])
    torch.testing.assert_close(
        guided(Recorder(), Z, sigma, CONDITION, 1.0), Z + sigma[:, None, None, None] * 2.0
    )


def test_result_is_linear_in_scale():
    low, middle, high = (guided(Recorder(), Z, 2.0, CONDITION, s) for s in (2.0, 5.0, 8.0))
    torch.testing.assert_close(middle, (low + high) / 2)


def test_no_gradient_flows():
    z = Z.clone().requires_grad_()
    assert not guided(Recorder(), z, 1.0, CONDITION, 7.5).requires_grad


def test_epsilon_recovers_noise():
    noise = torch.randn_like(Z)
    torch.testing.assert_close(epsilon(Z + 3.0 * noise, Z, 3.0), noise, rtol=1e-4, atol=1e-5)


class Words:
    """A prior whose estimate is a fixed image for each first number of the text."""

    images = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(3))

    def denoise(self, z, sigma, text):
        self.batch = len(z)
        return self.images[text[:, 0, 0].long()]


def with_wrong_views(*weights):
    number = [torch.full((2, 1, 1), float(i)) for i in range(2 + len(weights))]
    wrong = torch.stack(number[2:])
    return Condition(
        number[1], number[0], None, wrong, torch.tensor(weights)[:, None].expand(-1, 2)
    )


def test_perp_neg():
    prior, z = Words(), torch.zeros(2, 3, 4, 4)
    negative, text, first, second = prior.images
    toward = text - negative
    turned = torch.zeros_like(toward)
    for image, weight in ((first, 0.5), (second, 2.0)):
        away = image - negative
        turned += weight * (away - (away * toward).sum() / toward.square().sum() * toward)
    assert abs(float((turned * toward).sum())) < 1e-4
    found = guided(prior, z, 1.0, with_wrong_views(0.5, 2.0), 7.5)
    assert prior.batch == 8
    torch.testing.assert_close(found[0], negative + 7.5 * (toward - turned))
    torch.testing.assert_close(found[1], found[0])


def test_perp_neg_leaves_a_view_alone_that_agrees_with_the_text():
    """Of a wrong view that is the right one, nothing is perpendicular."""
    prior, z = Words(), torch.zeros(2, 3, 4, 4)
    prior.images = Words.images.clone()
    prior.images[2] = prior.images[1]
    plain = guided(prior, z, 1.0, with_wrong_views(0.0), 7.5)
    torch.testing.assert_close(guided(prior, z, 1.0, with_wrong_views(3.0), 7.5), plain)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_perp_neg_takes_no_part_without_guidance(scale):
    prior = Words()
    found = guided(prior, torch.zeros(2, 3, 4, 4), 1.0, with_wrong_views(3.0), scale)
    assert prior.batch == 2
    torch.testing.assert_close(found[0], prior.images[int(scale)])
