"""Regularizers of the alpha images, which every representation renders.

Both work against semi-transparent residue: faint density that floats around the object and covers
pixels only in part.
"""

from torch import Tensor


def sparsity(alpha: Tensor) -> Tensor:
    """Return the mean of √(α² + 0.01), a scalar (DreamFusion, App. A).

    It removes semi-transparent residue from the background.
    """
    return (alpha**2 + 0.01).sqrt().mean()


def opaque(alpha: Tensor) -> Tensor:
    """Return the mean of α(1 − α), a scalar: it makes each pixel either opaque or empty."""
    return (alpha * (1 - alpha)).mean()
