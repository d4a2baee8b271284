"""What every loss of the table keeps to; a new one is picked up from there."""

import dataclasses

import pytest
import torch

from gs3d.guidance import GUIDANCE
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
