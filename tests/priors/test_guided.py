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
