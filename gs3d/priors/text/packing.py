"""States of the tokens, and what goes with them to the network, in one tensor, and back.

All of it is linear, so that a weighted mean of packed texts is the packed weighted mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float

SMALLEST_WEIGHT = 1e-4
"""Weight below which a token counts as padding."""


def pack(
    states: Float[torch.Tensor, "P L E"], pooled: Float[torch.Tensor, "P W"]
) -> Float[torch.Tensor, "P R E"]:
    """Append the pooled text to the states, as further rows that zeros fill up.

    One row is enough for W ≤ E.
    """
    width, rows = states.shape[2], _rows(pooled.shape[1], states.shape[2])
    filled = functional.pad(pooled, (0, rows * width - pooled.shape[1]))
    return torch.cat([states, filled.reshape(-1, rows, width)], dim=1)


def unpack(
    text: Float[torch.Tensor, "P R E"], pooled_width: int
) -> tuple[Float[torch.Tensor, "P L E"], Float[torch.Tensor, "P W"]]:
    """Inverse of `pack`, for a pooled text of W = `pooled_width` numbers."""
    rows = _rows(pooled_width, text.shape[2])
    return text[:, :-rows], text[:, -rows:].flatten(1)[:, :pooled_width]


def weigh(
    states: Float[torch.Tensor, "P L E"], weights: Float[torch.Tensor, "P L"]
) -> Float[torch.Tensor, "P L E+1"]:
    """Multiply each token by its weight, 1 for a token and 0 for padding, and append the weights.

    In a blend of texts of different length a token that only some of them have gets their share as
    its weight, and the mean of their states.
    """
    return torch.cat([states * weights[..., None], weights[..., None]], dim=2)


def unweigh(
    text: Float[torch.Tensor, "P L E+1"],
) -> tuple[Float[torch.Tensor, "P L E"], Float[torch.Tensor, "P L"]]:
    """Inverse of `weigh`; states and weight of padding are zeros."""
    states, weights = text[..., :-1], text[..., -1]
    weights = weights.where(weights > SMALLEST_WEIGHT, 0)
    return torch.where(weights > 0, 1 / weights, 0)[..., None] * states, weights


def _rows(pooled_width: int, width: int) -> int:
    """Rows of `width` numbers that hold `pooled_width` numbers."""
    return -(-pooled_width // width)
