"""CDS and SDS on analytic priors with known results."""

import dataclasses
import itertools
import math

import pytest
import torch

from gs3d.core import rng
from gs3d.core.schedules import Ramp
from gs3d.guidance import Anchored, Cds, Ism, Sdi, Sds
from gs3d.guidance.distillation import Inputs, weight_of
from gs3d.priors.base import Condition, epsilon, guided
from tests.guidance.analytic import (
    MAX_SIGMA,
    TABLE,
    LinearSigmaMixture,
    Mixture,
    condition,
    descend,
)

SHAPE = (3, 2, 2)
NO_CFG = Ramp(1.0, 1.0)


def gaussian(s=0.5):
    return Mixture(torch.full((1, *SHAPE), 0.3), s)


def at(prior, z0, progress, seed, step) -> Inputs:
    """The inputs of a gradient."""
    noise = torch.zeros_like(z0)
    return Inputs(prior, condition(len(z0)), z0, noise, progress, seed, step)


def two_modes():
    return Mixture(torch.stack([torch.full(SHAPE, -1.0), torch.full(SHAPE, 1.0)]), 0.1)


@pytest.mark.parametrize("prior", [gaussian(), two_modes()])
@pytest.mark.parametrize("progress", [0.0, 0.4, 0.9])
def test_sigma2_times_the_cds_gradient_is_the_difference_of_denoised_images(prior, progress):
    # Consistent3D, Eqs. 10 and 11: D(x1) − D(x̂2) = σ2 (ε̂2 − ε̂1). The gradient is ε̂1 − ε̂2, so σ2
    # times the gradient is D(x̂2) − D(x1). This holds only for the Euler step, and only for one sign
    # of the gradient.
    cds, z0 = (
        Cds(cfg=NO_CFG, per_image=True),
        torch.randn(5, *SHAPE, generator=rng.generator(1, "pictures")),
    )
    out = cds(prior, condition(5), z0, progress, 3, 7)
    t2, t1 = cds.times(at(prior, z0, progress, 3, 7))
    sigma1 = torch.tensor([prior.sigma(t) for t in t1])
    x1 = z0 + sigma1[:, None, None, None] * rng.normal(SHAPE, 3, "fixed noise")
    difference = out.target - guided(prior, x1, sigma1, condition(5), 1.0)
    torch.testing.assert_close(out.grad * prior.sigma(t2), difference, atol=1e-5, rtol=1e-4)
    # Otherwise a zero gradient, or one of the other sign, would pass too.
    assert difference.abs().max() > 1e-3


def test_cds_gradient_on_a_gaussian_matches_the_closed_form():
    prior, cds = gaussian(s=0.5), Cds(cfg=NO_CFG)
    z0 = torch.randn(4, *SHAPE)
    out = cds(prior, condition(4), z0, 0.4, 3, 7)
    t2, t1 = cds.times(at(prior, z0, 0.4, 3, 7))
    s1 = torch.tensor([prior.sigma(t) for t in t1])[:, None, None, None]
    s2, s = prior.sigma(t2), prior.s
    x1 = z0 + s1 * rng.normal(SHAPE, 3, "fixed noise")
    # ε̂ = (x − D)/σ with D = m + s²/(s²+σ²)(x − m).
    e1 = s1 / (s**2 + s1**2) * (x1 - 0.3)
    x2 = x1 + (s2 - s1) * e1
    e2 = s2 / (s**2 + s2**2) * (x2 - 0.3)
    torch.testing.assert_close(out.grad, e1 - e2, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("weight_at", ["t1", "t2"])
def test_cds_is_the_formula_of_the_released_code(weight_at):
    # The code works on √ᾱ·z: x_t = √ᾱ·z0 + √(1 − ᾱ)·ε, a DDIM step between its two times, and
    # w·(ε̂1 − ε̂2) with w = 1 − ᾱ at the larger time, clamped.
    prior, z0, noise = two_modes(), torch.randn(4, *SHAPE), rng.normal(SHAPE, 3, "fixed noise")
    loss = Cds(
        cfg=NO_CFG, weight="sigma2", weight_at=weight_at, clamp=Ramp(0.5, 0.5), per_image=True
    )
    t2, t1 = loss.times(at(prior, z0, 0.4, 3, 7))

    def predicted(x, alpha_bar, t):
        """The ε of a network on √ᾱ·z."""
        sigma = prior.sigma(t)
        z = x / alpha_bar.sqrt()
        return epsilon(z, guided(prior, z, sigma, condition(1), 1.0), sigma)

    expected = []
    for i in range(4):
        bar1, bar2 = (torch.tensor(1 / (1 + prior.sigma(t) ** 2)) for t in (t1[i], t2))
        x1 = bar1.sqrt() * z0[i : i + 1] + (1 - bar1).sqrt() * noise
        e1 = predicted(x1, bar1, t1[i])
        x2 = bar2.sqrt() * (x1 - (1 - bar1).sqrt() * e1) / bar1.sqrt() + (1 - bar2).sqrt() * e1
        w = 1 - (bar1 if weight_at == "t1" else bar2)
        expected.append((w * (e1 - predicted(x2, bar2, t2))).clamp(-0.5, 0.5))
    out = loss(prior, condition(4), z0, 0.4, 3, 7)
    torch.testing.assert_close(out.grad, torch.cat(expected), atol=5e-5, rtol=1e-4)
    assert out.grad.abs().max() > 0.01


def test_cds_descent_converges_to_the_mode_and_ascent_diverges():
    prior, cds = gaussian(s=0.3), Cds(cfg=NO_CFG, t=Ramp(0.7, 0.02, "sqrt"), delta=(0.1, 0.1))
    z0 = torch.randn(4, *SHAPE) * 2
    end = descend(prior, cds, z0, 2000, 0.2)
    # The residual noise is that of the last time t1, σ(0.12); see the fixed point below.
    residual = TABLE.sigma(0.12) * rng.normal(SHAPE, 0, "fixed noise")
    assert (end - (0.3 - residual)).abs().max() < 0.05
    diverged = descend(prior, lambda *a: type("Out", (), {"grad": -cds(*a).grad}), z0, 400, 0.2)
    assert (diverged - 0.3).abs().mean() > 2 * (z0 - 0.3).abs().mean()


def test_cds_at_constant_time_converges_to_the_mode_minus_noise():
    # The fixed point of ε̂1 = ε̂2 on a Gaussian is x1 = m, so z0 = m − σ1·ε*.
    prior = gaussian(s=0.5)
    cds = Cds(cfg=NO_CFG, t=Ramp(0.3, 0.3), delta=(0.1, 0.1))
    z0 = descend(prior, cds, torch.randn(1, *SHAPE), 3000, 0.5)
    expected = 0.3 - TABLE.sigma(0.4) * rng.normal(SHAPE, 0, "fixed noise")
    torch.testing.assert_close(z0[0], expected, atol=2e-2, rtol=0)


def test_views_agree_with_shared_noise_and_diverge_with_separate_noise():
    # The paper's reason for one fixed noise ε*: all views have the same trajectory and target.
    spread = {}
    for noise in ("fixed", "fresh"):
        cds = Cds(cfg=NO_CFG, noise=noise)
        end = descend(two_modes(), cds, torch.zeros(8, *SHAPE), 200, 0.3)
        spread[noise] = (end - end.mean(0)).abs().mean()
    assert spread["fixed"] < 1e-6 and spread["fresh"] > 0.1


def test_sds_on_a_gaussian_converges_to_its_mean():
    prior = gaussian(s=0.5)
    z0 = descend(prior, Sds(cfg=NO_CFG, weight="one"), torch.randn(64, *SHAPE) * 2, 600, 0.1)
    assert (z0.mean() - 0.3).abs() < 0.05


@pytest.mark.parametrize("s, t", [(0.1, 0.3), (0.1, 0.7), (3.0, 0.1), (1.0, 0.05)])
def test_signal_to_noise_of_sds_and_cds_with_fresh_noise(s, t):
    # On N(m, s²), the signal-to-noise ratio of the SDS gradient is |x − m| σ / s², and that of the
    # CDS gradient is |x − m| / σ1. SDS is better where σ·σ1 > s².
    prior, batch = gaussian(s), 4000
    z0 = torch.full((batch, *SHAPE), 1.3)
    ratio = {}
    for guidance in (
        Sds(t=Ramp(t, t), random_t=False, cfg=NO_CFG, weight="one"),
        Cds(t=Ramp(t, t), delta=(0.1, 0.1), cfg=NO_CFG, noise="fresh"),
    ):
        grad = guidance(prior, condition(batch), z0, 0.5, 0, 0).grad
        ratio[type(guidance)] = float(grad.mean() / grad.std())
    sigma, sigma1 = prior.sigma(t), prior.sigma(t + 0.1)
    assert ratio[Sds] == pytest.approx(sigma / s**2, rel=0.1)
    assert ratio[Cds] == pytest.approx(1 / sigma1, rel=0.1)
    assert (ratio[Sds] > ratio[Cds]) == (sigma * sigma1 > s**2)


def test_sds_annealed_and_random_times():
    annealed = Sds(t=Ramp(0.9, 0.1), random_t=False)
    assert annealed.time(at(gaussian(), torch.zeros(1, *SHAPE), 0.5, 0, 0)) == pytest.approx(0.5)
    here = [at(gaussian(), torch.zeros(1, *SHAPE), 0.5, 0, step) for step in range(300)]
    times = [Sds(t=Ramp(0.9, 0.1)).time(inputs) for inputs in here]
    assert 0.1 <= min(times) < 0.15 and 0.85 < max(times) <= 0.9


def test_sds_gradient_repeats_only_with_fixed_noise():
    prior, z0 = gaussian(), torch.randn(2, *SHAPE)
    grads = {}
    for fixed in (True, False):
        sds = Sds(cfg=NO_CFG, noise="fixed" if fixed else "fresh", random_t=False)
        grads[fixed] = [sds(prior, condition(2), z0, 0.5, 0, step).grad for step in (1, 2)]
    assert torch.equal(*grads[True]) and not torch.allclose(*grads[False])


def test_cds_times_match_the_paper():
    cds, z0, four = (
        Cds(per_image=True),
        torch.zeros(8, *SHAPE),
        dataclasses.replace(gaussian(), views=4),
    )
    for step in range(200):
        t2, t1 = cds.times(at(four, z0, step / 200, 0, step))
        assert t2 == pytest.approx(0.7 - 0.6 * (step / 200) ** 0.5)
        assert all(t2 + 0.1 - 1e-6 <= t <= t2 + 0.2 + 1e-6 for t in t1)
        assert len(t1) == 8 and len(set(t1[:4])) == len(set(t1[4:])) == 1 and t1[0] != t1[4]
    one = dataclasses.replace(cds, per_image=False).times(at(four, z0, 0.5, 0, 0))[1]
    assert len(one) == 8 and len(set(one)) == 1
    random = [Cds(random_t=True).time(at(four, z0, 0.0, 0, step)) for step in range(300)]
    assert 0.1 <= min(random) < 0.15 and 0.65 < max(random) <= 0.7


def exact_ode_sample(prior, noise, sigma_max, sigma_min=1e-3, steps=4000):
    """Solve the probability-flow ODE from σ_max·ε* to a data sample, with fine Euler steps."""
    ends = torch.tensor(sigma_max).log10(), torch.tensor(sigma_min).log10()
    sigmas = torch.logspace(*ends, steps).tolist()
    x = sigma_max * noise
    for high, low in zip(sigmas[:-1], sigmas[1:], strict=True):
        d = guided(prior, x, high, condition(1), 1.0)
        x = x + (low - high) * epsilon(x, d, high)
    return x


def cds_chain(prior, noise, steps, sigma_max, sigma_min=1e-3):
    """Solve the same ODE with the steps of `Cds`: x̂2 of one call is x1 of the next.

    It uses ε̂2 = ε̂1 − gradient and x̂2 = D2 + σ2·ε̂2.
    """
    sigmas = torch.logspace(math.log10(sigma_max), math.log10(sigma_min), steps).tolist()
    x = sigma_max * noise
    for high, low in zip(sigmas[:-1], sigmas[1:], strict=True):
        t, delta = low / MAX_SIGMA, (high - low) / MAX_SIGMA
        cds = Cds(cfg=NO_CFG, t=Ramp(t, t), delta=(delta, delta))
        out = cds(prior, condition(1), x - high * rng.normal(SHAPE, 0, "fixed noise"), 0.0, 0, 0)
        eps1 = epsilon(x, guided(prior, x, high, condition(1), 1.0), high)
        x = out.target + low * (eps1 - out.grad)
    return x


def test_theorem_1_error_of_a_chain_of_cds_steps_is_linear_in_the_step():
    # ‖x − x*‖ = O(Δ): a chain of pairs (x1, x̂2) ends within O(Δ) of the sample x* of the exact ODE.
    # Half the step must therefore give half the error. The ODE of a mixture is nonlinear.
    prior = LinearSigmaMixture(torch.stack([torch.full(SHAPE, -0.6), torch.full(SHAPE, 0.8)]), 0.4)
    noise = rng.normal((1, *SHAPE), 5, "noise")
    exact = exact_ode_sample(prior, noise, 3.0)
    errors = [
        (cds_chain(prior, noise, steps, 3.0) - exact).norm().item() for steps in (16, 32, 64, 128)
    ]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(0.7 < s < 1.4 for s in slopes), slopes


@pytest.mark.parametrize("means", [[0.3], pytest.param([-1.0, 1.0], marks=pytest.mark.thorough)])
def test_theorem_1_error_of_cds_descent_is_linear_in_the_step(means):
    # The same for the optimized images. On a uniform grid of noise levels with spacing Δ, the last
    # pair is σ2 = Δ, σ1 = 2Δ. There the gradient
    #     ε̂1 − ε̂2 = (x1 − m)·s²Δ / ((s² + σ1²)(s² + σ2²))
    # is zero only at x1 = m, so descent ends at m − 2Δ·ε*, within O(Δ) of the mode m. The wrong
    # sign or a missing Euler step (as s < σ) makes the factor negative, and descent diverges.
    prior = LinearSigmaMixture(torch.stack([torch.full(SHAPE, m) for m in means]), 0.1)
    start = means[-1] + 0.2 * torch.randn(4, *SHAPE, generator=rng.generator(1, "pictures"))
    errors = []
    for spacing in (0.4, 0.2, 0.1):
        t, delta = Ramp(0.5 / MAX_SIGMA, spacing / MAX_SIGMA), spacing / MAX_SIGMA
        cds = Cds(cfg=NO_CFG, t=t, delta=(delta, delta))
        end = descend(prior, cds, start, 1500, 1.0)
        # All starting points converge to the same end.
        assert (end - end[0]).abs().max() < 1e-3
        errors.append((end - means[-1]).norm().item())
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(0.9 < s < 1.1 for s in slopes), (errors, slopes)


@pytest.mark.parametrize(
    "kind,sigma,expected",
    [("one", 3.0, 1.0), ("sigma", 3.0, 3.0), ("sigma2", 2.0, 0.8), ("inverse_sigma", 4.0, 0.25)],
)
def test_weight_of(kind, sigma, expected):
    assert weight_of(kind, sigma) == pytest.approx(expected)


def test_clamp_is_element_wise_and_follows_the_ramp():
    z0, options = torch.randn(4, *SHAPE), {"cfg": NO_CFG, "random_t": False}
    free, bound = Sds(**options), Sds(**options, clamp=Ramp(0.02, 0.08))
    grads = [loss(gaussian(), condition(4), z0, 0.5, 0, 0).grad for loss in (free, bound)]
    assert grads[0].abs().max() > 0.05
    torch.testing.assert_close(grads[1], grads[0].clamp(-0.05, 0.05))


def test_sdi_with_many_steps_is_the_gradient_of_the_exact_trajectory():
    # On N(m, s²) the ODE is linear: z − m grows as √(s² + σ²). With z0 at the entry level,
    # D(z_t) = m + s²/(s² + σ_t²)·(z_t − m), and the gradient is (z0 − D)/σ_t.
    s, t, prior = 0.5, 0.6, gaussian(s=0.5)
    z0 = torch.randn(3, *SHAPE)
    sdi = Sdi(t=Ramp(t, t), cfg=NO_CFG, entry=0.02, inversion_steps=400)
    out = sdi(prior, condition(3), z0, 0.5, 0, 0)
    low, high = prior.sigma(0.02 * t), prior.sigma(t)
    start = z0 + low * rng.normal((3, *SHAPE), 0, "noise", 0)
    end = 0.3 + (start - 0.3) * math.sqrt((s**2 + high**2) / (s**2 + low**2))
    d = 0.3 + s**2 / (s**2 + high**2) * (end - 0.3)
    torch.testing.assert_close(out.grad, (z0 - d) / high, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("s", [0.02, 0.5])
def test_anchored_consistency_pulls_errors_back_where_data_do_not_vary(s):
    # On N(m, s²) with z0 off by e and no noise, z_t − m = e·√(s² + σ²)/s up to the error of the
    # Euler steps, and D − m = s²/(s² + σ²)·(z_t − m), so the pull is (e − D)/σ > 0 for every s.
    prior, error = gaussian(s), 0.4
    z0 = torch.full((1, *SHAPE), 0.3 + error)
    for delta in (0.0, 0.2):
        loss = Anchored(t=Ramp(0.3, 0.3), delta=delta, cfg=NO_CFG, noise="fresh", pairs=True)
        anchored = loss(prior, condition(1), z0, 0.5, 0, 0).grad
        # Between the pull of an error that the prior does not know and that of one that it removes.
        assert (anchored > 0).all() and (anchored < error / prior.sigma(0.3) * 1.01).all()
        if s < 0.1:
            cds = Cds(t=Ramp(0.3, 0.3), cfg=NO_CFG, noise="fresh", pairs=True)
            assert (anchored > 20 * cds(prior, condition(1), z0, 0.5, 0, 0).grad).all()


@pytest.mark.parametrize("loss", [Sdi, Ism])
def test_inversion_does_not_depend_on_the_prompt(loss):
    class Prompted(Mixture):
        """The prompt moves the mean."""

        def denoise(self, z, sigma, text):
            prompted.append(bool(text.any()))
            return super().denoise(z, sigma, text)

    prompted = []
    prior = Prompted(torch.full((1, *SHAPE), 0.3), 0.5)
    words = Condition(torch.ones(2, 1, 1), torch.zeros(2, 1, 1))
    loss(cfg=NO_CFG, inversion_steps=3)(prior, words, torch.zeros(2, *SHAPE), 0.5, 0, 0)
    # Evaluations without the prompt come first; the last one is that of the gradient.
    assert prompted[-1] and not any(prompted[:-1]) and len(prompted) >= 4


def test_pairs_cancel_the_noise_of_a_gaussian_prior():
    # The gradient of SDS on a Gaussian is linear in the noise, so ±n leaves none of it.
    prior, z0 = gaussian(s=0.5), torch.full((2, *SHAPE), 1.3)
    grads = {}
    for pairs in (False, True):
        sds = Sds(cfg=NO_CFG, t=Ramp(0.5, 0.5), weight="one", pairs=pairs)
        grads[pairs] = sds(prior, condition(2), z0, 0.5, 0, 0).grad
    assert grads[False].std() > 0.05
    sigma = prior.sigma(0.5)
    torch.testing.assert_close(
        grads[True], torch.full_like(z0, sigma / (0.5**2 + sigma**2)), atol=1e-5, rtol=1e-4
    )


def test_guidance_output_has_no_autograd_graph():
    z0 = torch.randn(2, *SHAPE, requires_grad=True)
    for guidance in (Cds(), Sds(), Sdi(), Ism(), Anchored(noise="fresh"), Sds(pairs=True)):
        out = guidance(gaussian(), condition(2), z0, 0.1, 0, 0)
        assert not out.grad.requires_grad and not out.target.requires_grad
