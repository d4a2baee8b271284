"""Contract tests that run for every entry of `GUIDANCE`."""

import dataclasses

import pytest
import torch

from gs3d.core import rng
from gs3d.core.schedules import Ramp
from gs3d.guidance import GUIDANCE, Cds
from gs3d.guidance.distillation import Distillation
from gs3d.guidance.noise import noise_for
from tests.guidance.analytic import Prompted, prompts

PRIOR = Prompted(torch.stack([torch.full((3, 2, 2), -1.0), torch.full((3, 2, 2), 1.0)]), 0.2)


def condition(batch):
    """The prompt moves the modes, and so does the negative prompt, the other way."""
    return prompts(batch, text=0.3, empty=0.0, negative=-0.2)


@pytest.fixture(params=GUIDANCE)
def guidance(request):
    return GUIDANCE[request.param]()


def z0():
    return 0.3 * torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))


def test_output_has_a_finite_gradient_per_image(guidance):
    z = z0().requires_grad_()
    for progress in (0.0, 0.5, 1.0):
        out = guidance(PRIOR, condition(4), z, progress, seed=0, step=3)
        for tensor in (out.grad, out.target):
            assert tensor.shape == z.shape and tensor.dtype == torch.float32
            assert torch.isfinite(tensor).all() and not tensor.requires_grad
        assert out.grad.abs().max() > 0
        assert all(isinstance(v, float) for v in out.log.values()) and "t" in out.log
    assert z.grad is None


def test_gradient_is_a_function_of_seed_and_step(guidance):
    a, b, other = (
        guidance(PRIOR, condition(4), z0(), 0.5, seed, step=3).grad for seed in (0, 0, 1)
    )
    assert torch.equal(a, b) and not torch.equal(a, other)


@pytest.mark.parametrize("t", [1e-6, 1.0])
def test_ends_of_the_schedule(guidance, t):
    if not isinstance(guidance, Distillation):
        pytest.skip("has no t setting")
    if isinstance(guidance, Cds):
        t = min(t, 0.9989)  # t1 must stay above t2
    guidance = dataclasses.replace(guidance, t=Ramp(t, t), random_t=False, narrow_t=None)

    class Flow(Prompted):
        """A noise level that is unbounded at t = 1."""

        def sigma(self, t):
            return t / (1 - t)

    for prior in (PRIOR, Flow(PRIOR.means, PRIOR.s)):
        out = guidance(prior, condition(4), z0(), 0.5, seed=0, step=0)
        assert torch.isfinite(out.grad).all()


def test_settings_are_frozen(guidance):
    with pytest.raises(dataclasses.FrozenInstanceError):
        guidance.weight = "one"


def test_ramp_of_the_guidance_scale_is_validated(guidance):
    if not isinstance(cfg := getattr(guidance, "cfg", None), Ramp):
        pytest.skip("has no cfg setting that is a Ramp")
    with pytest.raises(ValueError, match="cfg"):
        dataclasses.replace(guidance, cfg=dataclasses.replace(cfg, start=-1.0))


def test_fixed_noise_is_shared_per_position_in_a_group():
    z = torch.zeros(8, 3, 2, 2)
    single = noise_for("fixed", z, 1, seed=0, step=5)
    assert torch.equal(single, single[:1].expand(8, -1, -1, -1))
    assert torch.equal(single, noise_for("fixed", z, 1, seed=0, step=6))
    torch.testing.assert_close(single[0], rng.normal((3, 2, 2), 0, "fixed noise"))
    grouped = noise_for("fixed", z, 4, seed=0, step=5)
    assert torch.equal(grouped[:4], grouped[4:])
    assert len({tuple(n.flatten().tolist()) for n in grouped[:4]}) == 4
    fresh = noise_for("fresh", z, 4, seed=0, step=5)
    assert not torch.equal(fresh[:4], fresh[4:])
    assert not torch.equal(fresh, noise_for("fresh", z, 4, seed=0, step=6))


def test_fixed_noise_matches_the_views_of_the_prior(guidance):
    if not isinstance(guidance, Distillation):
        pytest.skip("has no noise setting")
    inputs = []

    class FourViewMixture(Prompted):
        def denoise(self, z, sigma, text):
            inputs.append(z.clone())
            return super().denoise(z, sigma, text)

    guidance = dataclasses.replace(guidance, noise="fixed")
    if isinstance(getattr(guidance, "cfg", None), Ramp):
        guidance = dataclasses.replace(guidance, cfg=Ramp(1.0, 1.0))
    prior, z = FourViewMixture(PRIOR.means, PRIOR.s, views=4), torch.zeros(8, 3, 2, 2)
    guidance(prior, condition(8), z, 0.5, seed=0, step=0)
    first = inputs[0][:8]  # may be followed by those without the condition
    torch.testing.assert_close(first[:4], first[4:])
    assert len({round(float(image.sum()), 4) for image in first[:4]}) == 4
    with pytest.raises(ValueError, match="whole groups of 4 images for this prior, got 6"):
        guidance(prior, condition(6), z[:6], 0.5, seed=0, step=0)
