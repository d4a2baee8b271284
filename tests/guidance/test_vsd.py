"""VSD on a Gaussian prior: its gradient in closed form, with exact denoisers of the renders."""

import math
from dataclasses import dataclass

import pytest
import torch

from gs3d.core import rng
from gs3d.core.cameras import ring
from gs3d.core.schedules import Ramp
from gs3d.guidance import Sds, Vsd
from gs3d.guidance.base import learns
from gs3d.guidance.distillation import Inputs
from gs3d.guidance.losses.vsd import score_difference
from tests.guidance.analytic import Mixture, condition

SHAPE = (3, 2, 2)
MEAN, S = 0.3, 0.5
PRIOR = Mixture(torch.full((1, *SHAPE), MEAN), S)
PLAIN = {"cfg": Ramp(1.0, 1.0), "weight": "one", "random_t": False, "narrow_t": None}
"""Without guidance, at the times of `t`."""


@dataclass
class Renders:
    """In place of the LoRA: the exact denoiser of renders with the distribution N(mean, s²)."""

    mean: torch.Tensor | float
    s: torch.Tensor | float
    rows: int | None = None

    def denoise(self, z, sigma, text, cameras):
        assert sigma.shape == (len(z),) and len(cameras) == len(text) == len(z)
        share = self.s**2 / (self.s**2 + sigma[:, None, None, None] ** 2)
        return self.mean + share * (z - self.mean)


def gradient(loss, z0, model, progress=0.5, seed=0, step=0):
    cameras = ring(len(z0), 8)
    return loss(
        PRIOR, condition(len(z0)), z0, progress, seed, step, model=model, cameras=cameras
    ).grad


@pytest.mark.parametrize("mean, s", [(0.3, 0.2), (-0.4, 0.5), (0.9, 1.5)])
@pytest.mark.parametrize("t", [0.1, 0.6])
def test_gradient_on_gaussians_is_the_closed_form(mean, s, t):
    z0 = torch.randn(4, *SHAPE)
    grad = gradient(Vsd(**PLAIN, t=Ramp(t, t)), z0, Renders(mean, s))
    sigma = PRIOR.sigma(t)
    z = z0 + sigma * rng.normal((4, *SHAPE), 0, "noise", 0)
    # σ times the difference of the scores of N(m, s² + σ²) for the renders and for the data.
    expected = sigma * ((z - MEAN) / (S**2 + sigma**2) - (z - mean) / (s**2 + sigma**2))
    torch.testing.assert_close(grad, expected, atol=1e-5, rtol=1e-4)
    assert expected.abs().max() > 1e-2


@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_gradient_vanishes_where_the_renders_are_distributed_as_the_data(t):
    z0 = torch.randn(4, *SHAPE)
    grad = gradient(Vsd(**PLAIN, t=Ramp(t, t)), z0, Renders(MEAN, S))
    assert grad.abs().max() < 1e-5
    assert gradient(Sds(**PLAIN, t=Ramp(t, t)), z0, None).abs().max() > 0.1


def test_score_difference_is_a_function_of_two_denoisers():
    z = torch.randn(2, *SHAPE)
    difference, target = score_difference(z, 2.0, lambda z: 0.5 * z, lambda z: 0.1 * z)
    torch.testing.assert_close(difference, (0.1 - 0.5) * z / 2.0)
    torch.testing.assert_close(target, 0.5 * z)


@pytest.mark.parametrize("name", ["vsd", "sds"])
def test_many_objects_spread_as_the_data_do_and_with_sds_at_one_point(name):
    """The paper's reason for VSD (Sec. 3.3). The model is that of all objects of the moment."""
    loss = {"vsd": Vsd, "sds": Sds}[name](t=Ramp(0.5, 0.05), **PLAIN)
    z0 = -1 + 0.1 * torch.randn(512, *SHAPE, generator=rng.generator(0, "objects"))
    for step in range(800):
        model = Renders(z0.mean(0), z0.std(0)) if name == "vsd" else None
        z0 = z0 - 0.05 * gradient(loss, z0, model, step / 800, step=step)
    assert float(z0.mean()) == pytest.approx(MEAN, abs=0.05)
    spread = float(z0.std(0).mean())
    if name == "vsd":
        assert spread == pytest.approx(S, rel=0.1)
    else:
        assert spread < 0.4 * S


def test_without_a_model_it_is_sds():
    z0 = torch.randn(4, *SHAPE)
    loss = Vsd(cfg=Ramp(3.0, 3.0), random_t=False, narrow_t=None)
    same = Sds(cfg=Ramp(3.0, 3.0), random_t=False)
    found = loss(PRIOR, condition(4), z0, 0.4, 0, 7)
    expected = same(PRIOR, condition(4), z0, 0.4, 0, 7)
    torch.testing.assert_close(found.grad, expected.grad, atol=1e-5, rtol=1e-4)


def test_defaults_are_the_papers():
    loss, z0 = Vsd(), torch.zeros(1, *SHAPE)

    def times(progress):
        noise = torch.zeros_like(z0)
        at = [Inputs(PRIOR, condition(1), z0, noise, progress, 0, step) for step in range(400)]
        return [loss.time(inputs) for inputs in at]

    assert 0.02 <= min(times(0.1)) < 0.05 and 0.95 < max(times(0.1)) <= 0.98
    assert 0.02 <= min(times(0.3)) < 0.05 and 0.48 < max(times(0.3)) <= 0.5
    assert loss.cfg == Ramp(7.5, 7.5) and loss.weight == "sigma2"
    assert (loss.lora_rank, loss.lora_rate, loss.lora_steps) == (4, 1e-4, 1)
    assert learns(loss) and not learns(Sds())


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"lora_rank": 0}, r"lora_rank: expected a number in \[1, inf\), got 0"),
        ({"lora_rate": -1.0}, r"lora_rate: expected a number in \[0, inf\), got -1.0"),
        ({"lora_rate": math.nan}, r"lora_rate: expected a number in \[0, inf\), got nan"),
        ({"lora_steps": 0}, r"lora_steps: expected a number in \[1, inf\), got 0"),
        ({"camera_dropout": 1.5}, r"camera_dropout: expected a number in \[0, 1\], got 1.5"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        Vsd(**settings)
