"""Kernel Inception distance (Bińkowski et al. 2018): how far apart two sets of pictures lie in the features of a network."""

from torch import Tensor


def kid(a: Tensor, b: Tensor) -> float:
    """Unbiased squared MMD of features [N, F] and [M, F] under the kernel (x·y / F + 1)³; about 0 for two draws of one distribution."""
    if min(len(a), len(b)) < 2:
        raise ValueError(
            f"kid: expected two pictures or more on each side, got {len(a)} and {len(b)}"
        )
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        k = kernel(x, x)
        return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def standardized(features: Tensor, like: Tensor) -> Tensor:
    """Each feature in units of its spread in `like`, about its mean there, so that no feature counts for more by its scale."""
    return (features - like.mean(0)) / like.std(0).clamp_min(1e-6)
