"""GCS and SCTD on Gaussians, where each gradient is known, and the window of their times."""

import math

import pytest
import torch

from gs3d.core import rng
from gs3d.core.schedules import Ramp
from gs3d.guidance import Asd, Gcs, Sctd
from gs3d.guidance.distillation import Inputs
from gs3d.priors.base import estimates
from tests.guidance.analytic import TABLE, descend, prompts
from tests.guidance.gaussian import (
    GUIDED,
    MEAN,
    NO_CFG,
    PRIOR,
    SEED,
    SHAPE,
    SPREAD,
    STEP,
    WORDS,
    at,
    close,
    denoised,
    gradient,
    noise,
    pictures,
)


class Steps:
    """Euler steps of a trajectory of `PRIOR`, written out for GCS and SCTD."""

    def __init__(self, out, batch=3):
        self.e, self.s, self.t = (out.log[name] for name in "est")
        self.ze = pictures(batch) + TABLE.sigma(self.e) * rng.normal(SHAPE, SEED, "fixed noise")

    def go(self, z, start, end, word):
        """One Euler step from the time `start` to the time `end`."""
        return z + (TABLE.sigma(end) - TABLE.sigma(start)) * noise(z, start, word)


@pytest.mark.parametrize("consistency, guidance", [(1.0, 0.5), (1.0, 0.0), (0.0, 0.5)])
def test_gcs_is_autograd_through_the_released_losses(consistency, guidance):
    out = gradient(Gcs(consistency=consistency, guidance=guidance))
    p, empty = Steps(out), WORDS["empty"]
    assert p.e < p.s < p.t and p.e >= p.t - 2 * (p.t - p.s)
    zs = p.go(p.ze, p.e, p.s, empty)
    zt = p.go(zs, p.s, p.t, empty)
    back_s, back_e = (p.go(zt, p.t, end, GUIDED) for end in (p.s, p.e))
    # ‖√ᾱ_e·(one − other)‖² and ½‖D_∅(z_e) − D(ẑ_e)‖²; in both the first knows z0, as z0 + c.
    alone = p.go(zt, p.t, p.e, empty) - p.go(back_s, p.s, p.e, empty)
    across = denoised(p.ze, p.e, empty) - denoised(back_e, p.e, GUIDED)
    bar = 1 / (1 + TABLE.sigma(p.e) ** 2)
    offset = torch.zeros(3, *SHAPE, requires_grad=True)
    loss = consistency * bar * (offset + alone).square().sum()
    loss = loss + guidance * (offset + across).square().sum()
    loss.backward()
    # The factor 2 of the square is left out.
    torch.testing.assert_close(out.grad, 0.5 * offset.grad, atol=1e-4, rtol=1e-3)
    assert out.grad.abs().max() > 1e-2


@pytest.mark.parametrize("steps", [1, 2])
def test_sctd_is_the_formula_of_the_released_code(steps):
    out = gradient(Sctd(**at(0.35, two_steps_from=0.15 if steps == 2 else 1.0)))
    p, empty = Steps(out), WORDS["empty"]
    assert p.e + 0.01 <= p.s <= p.t - 0.01
    zt = p.go(p.ze, p.e, p.t, empty)
    if steps == 2:
        zt = p.go(p.go(p.ze, p.e, p.s, empty), p.s, p.t, empty)
    back_s, back_e = (p.go(zt, p.t, end, GUIDED) for end in (p.s, p.e))
    alone = p.go(back_s, p.s, p.e, empty) - p.ze
    across = p.ze - back_e
    bar = 1 / (1 + TABLE.sigma(p.e) ** 2)
    expected = TABLE.sigma(p.t) * math.sqrt(bar) * (alone + 8.5 * across)
    torch.testing.assert_close(out.grad, expected, atol=1e-3, rtol=1e-3)
    assert expected.abs().max() > 1e-2


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(
    "loss, pulls",
    [
        (Gcs(consistency=1.0, guidance=0.0, cfg=NO_CFG), False),
        (Gcs(consistency=0.0, guidance=0.5, cfg=NO_CFG), True),
        (Sctd(cfg=NO_CFG), True),
        (Sctd(), True),
    ],
    ids=["gcs, C alone", "gcs, G alone", "sctd without guidance", "sctd"],
)
def test_pull_of_gcs_and_sctd_where_the_prompt_changes_nothing(loss, pulls, progress):
    # All their steps are linear in z_e − m here, so the gradient is a number times that: above 0
    # it pulls to m. C of GCS pushes, by −(σ_s − σ_e)(σ_t − σ_s)·s²/((s² + σ_s²)(s² + σ_t²)) of z_t.
    out = gradient(loss, progress, text=0.0, empty=0.0)
    ratio = out.grad / (Steps(out).ze - MEAN)
    assert (ratio.amax() - ratio.amin()) < 0.05 * ratio.abs().amax()
    assert (ratio > 0).all() if pulls else (ratio < 0).all()
    if not pulls:
        p = Steps(out)
        e, s, t = (TABLE.sigma(u) for u in (p.e, p.s, p.t))
        zt = p.go(p.go(p.ze, p.e, p.s, 0.0), p.s, p.t, 0.0)
        push = (s - e) * (t - s) * SPREAD**2 / ((SPREAD**2 + s**2) * (SPREAD**2 + t**2))
        torch.testing.assert_close(out.grad, -push / (1 + e**2) * (zt - MEAN), atol=1e-5, rtol=2e-2)


@pytest.mark.parametrize("loss", [Gcs(), Sctd()], ids=["gcs", "sctd"])
def test_descending_gcs_and_sctd_follows_the_prompt(loss):
    grad = gradient(loss, text=0.4, empty=-0.1).grad
    assert grad.mean() < gradient(loss, text=-0.1, empty=-0.1).grad.mean() - 0.05
    # The negative prompt is in the guidance, and the way up is that of the empty prompt.
    other = gradient(loss, text=0.4, empty=-0.1, negative=-0.6).grad
    assert other.mean() < grad.mean()


@pytest.mark.parametrize("loss, at_mode", [(Gcs(cfg=NO_CFG), 0.0), (Sctd(cfg=NO_CFG), 0.0)])
def test_gcs_and_sctd_vanish_at_the_mean_less_the_noise(loss, at_mode):
    first = gradient(loss, text=0.0, empty=0.0)
    fixed = rng.normal(SHAPE, SEED, "fixed noise")
    z0 = (MEAN - TABLE.sigma(first.log["e"]) * fixed).expand(3, -1, -1, -1)
    out = loss(PRIOR, prompts(3, text=0.0, empty=0.0), z0, 0.4, SEED, STEP)
    assert out.grad.abs().max() < 1e-4 and first.grad.abs().max() > 1e-3


@pytest.mark.parametrize("text, ends", [(0.0, 0.0), (0.4, 0.4)])
def test_sctd_descends_to_the_mean(text, ends):
    def words(batch):
        return prompts(batch, text=text, empty=text)

    loss = Sctd(noise="fresh", t=Ramp(0.5, 0.2), window=0.3)
    end = descend(PRIOR, loss, pictures(64), 2000, 1.0, condition=words)
    assert (end.mean() - MEAN - ends).abs() < 0.1


class Times:
    """Inputs of which only the time is asked."""

    @staticmethod
    def of(loss, progress, steps=200):
        zeros = torch.zeros(1, *SHAPE)
        words = prompts(1, 0.0, 0.0)
        return [
            loss.time(Inputs(PRIOR, words, zeros, zeros, progress, 0, step))
            for step in range(steps)
        ]


@pytest.mark.parametrize(
    "loss, progress, low, high",
    [
        (Gcs(), 0.0, 0.5, 0.98),
        (Gcs(), 0.15, 0.26, 0.74),
        (Sctd(), 0.3, 0.02, 0.5),
        (Sctd(), 1.0, 0.02, 0.5),
        (Asd(), 0.5, 0.26, 0.74),
        (Asd(window=0.0), 0.5, 0.74, 0.74),
    ],
)
def test_random_times_come_from_a_window_that_slides(loss, progress, low, high):
    times = Times.of(loss, progress)
    assert low - 1e-6 <= min(times) <= low + 0.02 and high - 0.02 <= max(times) <= high + 1e-6
    assert loss.range_at(progress) == pytest.approx((low, high))


def test_a_window_is_validated():
    for wrong in ({"slide": 0.0}, {"window": 1.5}, {"narrow_t": (0.5, 0.4)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Gcs(**wrong)


def test_guidance_on_gaussians_of_equal_spread_moves_the_mean():
    z, sigma = pictures(), TABLE.sigma(0.5)
    without, text = estimates(PRIOR, z, sigma, prompts(3, **WORDS))
    close(without + 7.5 * (text - without), denoised(z, 0.5, GUIDED))
