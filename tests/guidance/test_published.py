"""SJC, CSD, NFSD and ASD on Gaussians, where each gradient is known; settings and evaluations."""

import math
from dataclasses import dataclass

import pytest
import torch

from gs3d.core.schedules import Ramp
from gs3d.guidance import Asd, Csd, Gcs, Nfsd, Sctd, Sds, Sjc
from tests.guidance.analytic import TABLE, Mixture, Prompted, descend, prompts
from tests.guidance.gaussian import (
    MEAN,
    NO_CFG,
    PRIOR,
    SEED,
    SPREAD,
    STEP,
    WORDS,
    at,
    close,
    fresh,
    gradient,
    noise,
    pictures,
)


@pytest.mark.parametrize("t", [0.1, 0.5])
def test_sjc_is_sds_with_weight_1_and_without_variance_reduction_the_score(t):
    settings = at(t, cfg=Ramp(7.5, 7.5))
    sjc, sds = Sjc(**settings), Sds(weight="one", **settings)
    torch.testing.assert_close(gradient(sjc).grad, gradient(sds).grad, atol=1e-4, rtol=1e-4)
    whole = Sjc(reduce_variance=False, **at(t, cfg=NO_CFG))
    close(gradient(whole).grad, noise(pictures() + TABLE.sigma(t) * fresh(), t, 0.4))


def test_sjc_goes_to_the_mean_of_the_prompt():
    def words(batch):
        return prompts(batch, text=0.4, empty=0.0)

    for reduce in (True, False):
        sjc = Sjc(cfg=NO_CFG, reduce_variance=reduce)
        end = descend(PRIOR, sjc, 2 * pictures(64), 600, 0.1, condition=words)
        assert (end.mean() - MEAN - 0.4).abs() < 0.05


@pytest.mark.parametrize("progress, away", [(0.0, 0.0), (0.2, 0.4), (0.5, 1.0), (1.0, 1.0)])
def test_csd_is_the_difference_that_the_prompt_makes(progress, away):
    out = gradient(Csd(**at(0.5)), progress)
    z = pictures() + TABLE.sigma(0.5) * fresh()
    text, empty, negative = (noise(z, 0.5, WORDS[name]) for name in WORDS)
    close(out.grad, text - empty - away * (negative - empty))
    assert out.log["negative"] == pytest.approx(away)
    # Gaussians of equal spread: the same for every render.
    assert out.grad.std() < 1e-5
    # Descending goes up to the prompt, and down from a negative prompt that lies above.
    assert (out.grad < 0).all()
    assert (gradient(Csd(**at(0.5)), 1.0, text=0.4, empty=0.4, negative=0.9).grad > 0).all()


def test_csd_vanishes_where_prompts_agree_and_knows_the_empty_prompt_from_the_negative():
    csd = Csd(**at(0.5))
    assert gradient(csd, 1.0, text=0.4, empty=0.4).grad.abs().max() < 1e-6
    assert gradient(csd, 0.0, text=0.4, empty=0.4, negative=-1.0).grad.abs().max() < 1e-6
    one = gradient(csd, 1.0, text=0.4, empty=-0.1, negative=-0.1).grad
    close(one, gradient(csd, 1.0, text=0.4, empty=-0.1).grad)
    close(gradient(Csd(**at(0.5, cfg=Ramp(3.0, 3.0))), 0.0).grad, 3 * one)


@dataclass(frozen=True)
class Sharper(Mixture):
    """N(m, s²), which the prompt makes N(m + 0.4, (s/2)²)."""

    def denoise(self, z, sigma, text):
        plain = super().denoise(z, sigma, text)
        prompted = 0.4 + Mixture(self.means, 0.5 * self.s).denoise(z - 0.4, sigma, text)
        return torch.where(text[:, :, :, None] > 0, prompted, plain)


def test_csd_ends_beyond_the_mean_of_a_prompt_that_narrows_the_data():
    # ε̂_text = ε̂_∅ where (z − m − 0.4)/v_text = (z − m)/v, v = s² + σ²: past m + 0.4.
    def words(batch):
        return prompts(batch, text=1.0, empty=0.0)

    prior, sigma = Sharper(PRIOR.means, SPREAD), TABLE.sigma(0.3)
    v, v_text = (s**2 + sigma**2 for s in (SPREAD, SPREAD / 2))
    csd = Csd(pairs=True, **at(0.3))
    end = descend(prior, csd, pictures(), 1500, 0.5, condition=words)
    expected = MEAN + 0.4 * v / (v - v_text)
    assert expected > MEAN + 0.4
    torch.testing.assert_close(end, torch.full_like(end, expected), atol=1e-2, rtol=0)


@pytest.mark.parametrize("t", [0.1, 0.19, 0.2, 0.6])
def test_nfsd_removes_the_domain_below_its_threshold_and_the_negative_prompt_above(t):
    out = gradient(Nfsd(**at(t)))
    sigma = TABLE.sigma(t)
    z = pictures() + sigma * fresh()
    text, empty, negative = (noise(z, t, WORDS[name]) for name in WORDS)
    domain = empty if t < 0.2 else empty - negative
    close(out.grad, sigma**2 / (1 + sigma**2) * (7.5 * (text - empty) + domain))


def test_nfsd_without_a_negative_prompt_is_csd_above_the_threshold():
    for_both = at(0.6, cfg=Ramp(7.5, 7.5), weight="one")
    words = {"text": 0.4, "empty": -0.1}
    close(gradient(Nfsd(**for_both), **words).grad, gradient(Csd(**for_both), **words).grad)
    # It vanishes where all prompts agree, and below the threshold only at the mode.
    same = {"text": 0.4, "empty": 0.4, "negative": 0.4}
    assert gradient(Nfsd(**at(0.6)), **same).grad.abs().max() < 1e-6
    nfsd = Nfsd(pairs=True, **at(0.15))
    end = descend(PRIOR, nfsd, pictures(), 400, 1.0, condition=lambda b: prompts(b, 0.4, 0.4))
    torch.testing.assert_close(end, torch.full_like(end, MEAN + 0.4), atol=1e-2, rtol=0)


def test_asd_compares_the_guided_estimate_with_a_later_one_of_the_prompt():
    out = gradient(Asd(**at(0.6)))
    t, later = out.log["t"], out.log["t2"]
    assert t == 0.6 and 0.6 < later <= 0.6 + 0.1 * (0.6 - 0.02)
    z, z2 = (pictures() + TABLE.sigma(u) * fresh() for u in (t, later))
    # ε̂ = ε̂_neg + 7.5·(ε̂_text − ε̂_neg).
    eps = noise(z, t, -0.6) + 7.5 * (noise(z, t, 0.4) - noise(z, t, -0.6))
    sigma = TABLE.sigma(t)
    close(out.grad, sigma**2 / (1 + sigma**2) * (eps - noise(z2, later, 0.4)))


@pytest.mark.parametrize("t", [0.02, 0.1, 0.2, 0.3, 0.6])
def test_asd_without_guidance_pulls_to_the_mean_where_noise_is_larger_than_the_spread(t):
    # [σ/(s² + σ²) − σ'/(s² + σ'²)]·(z0 − m), which has the sign of σσ' − s².
    loss = Asd(pairs=True, **at(t, cfg=NO_CFG, weight="one", shift=1.0))
    out = gradient(loss, text=0.0, empty=0.0)
    pulls = out.grad / (pictures() - MEAN)
    low, high = TABLE.sigma(t), TABLE.sigma(out.log["t2"])
    expected = low / (SPREAD**2 + low**2) - high / (SPREAD**2 + high**2)
    torch.testing.assert_close(pulls, torch.full_like(pulls, expected), atol=1e-4, rtol=1e-3)
    if out.log["t2"] > t:
        assert (expected > 0) == (low * high > SPREAD**2)


@pytest.mark.parametrize(
    "loss, wrong",
    [
        (Csd, {"negative": Ramp(-1.0, 0.0)}),
        (Csd, {"negative_by": 0.0}),
        (Nfsd, {"threshold": 1.5}),
        (Asd, {"shift": -0.1}),
        (Gcs, {"delta": Ramp(0.0, 0.1)}),
        (Gcs, {"consistency": -1.0}),
        (Gcs, {"guidance": math.nan}),
        (Sctd, {"segments": 0}),
        (Sctd, {"least": 0.01}),
        (Sctd, {"least": 0.5}),
        (Sctd, {"two_steps_from": 2.0}),
    ],
)
def test_settings_out_of_range_are_named(loss, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        loss(**wrong)


class Counting(Prompted):
    """Counts images that are denoised."""

    def denoise(self, z, sigma, text):
        counted.append(len(z))
        return super().denoise(z, sigma, text)


counted: list[int] = []


@pytest.mark.parametrize(
    "loss, plain, negative",
    [
        (Sjc(), 1, 1),
        (Csd(), 1, 1.5),
        (Nfsd(**at(0.1)), 1, 1),
        (Nfsd(**at(0.5)), 1, 1.5),
        (Asd(), 1.5, 1.5),
        (Gcs(), 3.5, 4),
        (Sctd(**at(0.5)), 2.5, 2.5),
        (Sctd(**at(0.05)), 2, 2),
    ],
)
def test_evaluations_are_those_of_the_documentation(loss, plain, negative):
    # An evaluation is an image with and without the prompt.
    for words, expected in ({"text": 0.4, "empty": 0.0}, plain), (WORDS, negative):
        counted.clear()
        loss(Counting(PRIOR.means, SPREAD), prompts(2, **words), pictures(2), 0.9, SEED, STEP)
        assert sum(counted) / 4 == expected
