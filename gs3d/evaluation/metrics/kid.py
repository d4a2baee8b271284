"""Kernel Inception distance (Bińkowski et al. 2018) between the features of two sets of images."""

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

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def standardized(features: Tensor, like: Tensor) -> Tensor:
    """Standardize features [N, F] with the mean and standard deviation of `like` [M, F].

    This gives every feature the same weight in a distance, whatever its scale.
    """
    return (features - like.mean(0)) / like.std(0).clamp_min(1e-6)
