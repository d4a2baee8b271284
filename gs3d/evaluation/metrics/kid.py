"""Kernel Inception distance (Bińkowski et al. 2018) between the features of two sets of images."""

from collections.abc import Sequence

import torch
from torch import Tensor


def kid(a: Tensor, b: Tensor) -> float:
    """Return the unbiased squared MMD of features [N, F] and [M, F].

    The kernel is (x·y / F + 1)³. The expected value is 0 for two samples of one distribution.
    Raises `ValueError` if N or M is below 2.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"kid: expected at least two images in each set, got {len(a)} and {len(b)};"
            " pass more images"
        )
    a, b = a.double(), b.double()

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """(x·y / F + 1)³ between features [N, F] and [M, F]: [N, M]."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def pair_table(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """KID as a mean over pairs of prompts, for two sets with images of the same P prompts.

    `a[p]` and `b[p]` hold the features of the images of prompt p, [N, F] and [M, F]. Entry (p, q)
    of the result [P, P] is k(a_p, a_q) + k(b_p, b_q) − k(a_p, b_q) − k(b_p, a_q), where k is the
    mean kernel. The mean of the entries off the diagonal is 0 in expectation if the images of each
    prompt have the same distribution in both sets. Images of one prompt are alike, so pairs of a
    prompt with itself would add a bias.
    """
    double = [[x.double() for x in part] for part in (a, b)]

    def means(x: Sequence[Tensor], y: Sequence[Tensor]) -> Tensor:
        return torch.stack([torch.stack([kernel(u, v).mean() for v in y]) for u in x])

    own, other = double
    across = means(own, other)
    return means(own, own) + means(other, other) - across - across.T


def standardized(features: Tensor, like: Tensor) -> Tensor:
    """Standardize features [N, F] with the mean and standard deviation of `like` [M, F].

    This gives every feature the same weight in a distance, whatever its scale.
    """
    return (features - like.mean(0)) / like.std(0).clamp_min(1e-6)
