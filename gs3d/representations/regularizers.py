"""Regularizers of the alpha images, which every representation renders.

Both work against semi-transparent residue: faint density that floats around the object and covers
pixels only in part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def sparsity(alpha: Float[Tensor, "B H W 1"]) -> Tensor:
    """Return the mean of √(α² + 0.01), a scalar (DreamFusion, App. A).

    It removes semi-transparent residue from the background.
    """
    return (alpha**2 + 0.01).sqrt().mean()


def opaque(alpha: Float[Tensor, "B H W 1"]) -> Tensor:
    """Return the mean of α(1 − α), a scalar: it makes each pixel either opaque or empty."""
    return (alpha * (1 - alpha)).mean()
