"""Regularizers of a silhouette that every representation has."""

from torch import Tensor


def sparsity(alpha: Tensor) -> Tensor:
    """Mean coverage √(α² + 0.01) of pictures, a scalar: pulls haze off the background (DreamFusion, App. A)."""
    return (alpha**2 + 0.01).sqrt().mean()


def opaque(alpha: Tensor) -> Tensor:
    """Mean α(1 − α) of pictures, a scalar: a pixel is object or background, not smoke."""
    return (alpha * (1 - alpha)).mean()
