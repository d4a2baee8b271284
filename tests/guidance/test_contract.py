"""What every loss of the table keeps to; a new one is picked up from there."""

import dataclasses

import pytest
import torch

from gs3d.core import rng
from gs3d.guidance import GUIDANCE
from gs3d.guidance.common import noise_for
from tests.guidance.analytic import Mixture, condition

PRIOR = Mixture(torch.stack([torch.full((3, 2, 2), -1.0), torch.full((3, 2, 2), 1.0)]), 0.2)


@pytest.fixture(params=GUIDANCE)
def loss(request):
    return GUIDANCE[request.param]()


def z0():
    return 0.3 * torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def test_a_gradient_for_every_picture(loss):
    z = z0().requires_grad_()
    for progress in (0.0, 0.5, 1.0):
        out = loss(PRIOR, condition(4), z, progress, seed=0, step=3)
        for tensor in (out.grad, out.target):
            assert tensor.shape == z.shape and tensor.dtype == torch.float32
            assert torch.isfinite(tensor).all() and not tensor.requires_grad
        assert out.grad.abs().max() > 0
        assert all(isinstance(v, float) for v in out.log.values()) and "t" in out.log
    assert z.grad is None


def test_it_is_a_function_of_seed_and_step(loss):
    a, b, other = (loss(PRIOR, condition(4), z0(), 0.5, seed, step=3).grad for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, other)


def test_its_settings_are_fixed_and_checked(loss):
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.weight = "one"
    if hasattr(loss, "cfg"):
        with pytest.raises(ValueError, match="cfg"):
            dataclasses.replace(loss, cfg=dataclasses.replace(loss.cfg, start=-1.0))


def test_one_noise_for_all_is_one_for_each_place_in_a_group():
    z = torch.zeros(8, 3, 2, 2)
    alone = noise_for(z, True, 1, seed=0, step=5)
    assert torch.equal(alone, alone[:1].expand(8, -1, -1, -1)) and torch.equal(
        alone, noise_for(z, True, 1, seed=0, step=6)
    )
    torch.testing.assert_close(alone[0], rng.normal((3, 2, 2), 0, "fixed noise"))
    four = noise_for(z, True, 4, seed=0, step=5)
    assert (
        torch.equal(four[:4], four[4:])
        and len({tuple(n.flatten().tolist()) for n in four[:4]}) == 4
    )
    fresh = noise_for(z, False, 4, seed=0, step=5)
    assert not torch.equal(fresh[:4], fresh[4:]) and not torch.equal(
        fresh, noise_for(z, False, 4, seed=0, step=6)
    )


def test_a_loss_asks_for_the_noise_that_its_prior_wants(loss):
    if not hasattr(loss, "fixed_noise"):
        pytest.skip("draws no noise of its own")
    asked = []

    class Four(Mixture):
        def denoise(self, z, sigma, text):
            asked.append(z.clone())
            return super().denoise(z, sigma, text)

    loss, z = (
        dataclasses.replace(
            loss, fixed_noise=True, cfg=dataclasses.replace(loss.cfg, start=1.0, end=1.0)
        ),
        torch.zeros(8, 3, 2, 2),
    )
    loss(Four(PRIOR.means, PRIOR.s, views=4), condition(8), z, 0.5, seed=0, step=0)
    first = asked[0]
    torch.testing.assert_close(first[:4], first[4:])
    assert len({round(float(picture.sum()), 4) for picture in first[:4]}) == 4
    with pytest.raises(ValueError, match="whole groups of 4 pictures for this prior, got 6"):
        loss(Four(PRIOR.means, PRIOR.s, views=4), condition(6), z[:6], 0.5, seed=0, step=0)
