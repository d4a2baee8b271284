"""Kernel Inception distance."""

import pytest
import torch

from gs3d.evaluation.metrics.kid import kid, standardized


def draw(count, mean=0.0, spread=1.0, seed=0):
    """Gaussian features [count, 8]."""
    return mean + spread * torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def test_kid_is_zero_for_one_distribution_and_grows_with_the_difference():
    same = [kid(draw(400, seed=i), draw(400, seed=100 + i)) for i in range(6)]
    assert abs(sum(same) / 6) < 0.02
    near, far = (
        kid(draw(400), draw(400, mean=0.5, seed=1)),
        kid(draw(400), draw(400, mean=1.0, seed=1)),
    )
    assert 0.1 < near < far
    assert kid(draw(400), draw(400, spread=0.3, seed=1)) > 0.02  # too little variety counts too


def test_kid_by_hand():
    a, b = torch.tensor([[1.0], [0.0]]), torch.tensor([[2.0], [1.0]])
    # Within a: k(1, 0) = 1. Within b: k(2, 1) = 27.
    # Between: k(1, 2), k(1, 1), k(0, 2), k(0, 1) = 27, 8, 1, 1.
    assert kid(a, b) == pytest.approx(1 + 27 - 2 * 37 / 4)
    with pytest.raises(ValueError, match="at least two images"):
        kid(a[:1], b)


def test_standardized_features_do_not_depend_on_scale():
    a, b = draw(300), draw(300, mean=0.5, seed=1)
    scale = torch.logspace(-3, 3, 8)
    torch.testing.assert_close(
        standardized(b * scale, a * scale), standardized(b, a), atol=1e-3, rtol=1e-3
    )
