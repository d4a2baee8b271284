"""A Gaussian prior that the prompt moves, for the losses of publications."""

import torch

from gs3d.core import rng
from gs3d.core.schedules import Ramp
from tests.guidance.analytic import TABLE, Prompted, prompts

SHAPE = (3, 2, 2)
MEAN, SPREAD = 0.3, 0.5
PRIOR = Prompted(torch.full((1, *SHAPE), MEAN), SPREAD)
"""N(0.3 + text, 0.5²)."""
NO_CFG = Ramp(1.0, 1.0)
SEED, STEP = 3, 7
WORDS = {"text": 0.4, "empty": -0.1, "negative": -0.6}
GUIDED = -0.6 + 7.5 * (0.4 + 0.6)
"""The word that moves the mean as the guidance scale 7.5 does with `WORDS`."""


def pictures(batch=3):
    return torch.randn(batch, *SHAPE, generator=rng.generator(1, "pictures"))


def fresh(batch=3):
    return rng.normal((batch, *SHAPE), SEED, "noise", STEP)


def noise(z, t, word=0.0):
    """ε̂ of `PRIOR`: σ/(s² + σ²)·(z − m)."""
    sigma = TABLE.sigma(t)
    return sigma / (SPREAD**2 + sigma**2) * (z - MEAN - word)


def denoised(z, t, word=0.0):
    return z - TABLE.sigma(t) * noise(z, t, word)


def gradient(loss, progress=0.4, batch=3, **words):
    return loss(PRIOR, prompts(batch, **(words or WORDS)), pictures(batch), progress, SEED, STEP)


def close(one, other):
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert other.abs().max() > 1e-3  # or a gradient of zero would pass


def at(t, **settings):
    """Settings of a loss with the fixed time `t`."""
    return {"t": Ramp(t, t), "random_t": False, "narrow_t": None} | settings
