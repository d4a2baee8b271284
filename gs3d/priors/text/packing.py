"""States of the tokens and a vector of the whole text in one tensor, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float


def pack(
    states: Float[torch.Tensor, "P L E"], pooled: Float[torch.Tensor, "P W"]
) -> Float[torch.Tensor, "P R E"]:
    """Append the pooled text to the states, as further rows that zeros fill up.

    One row is enough for W ≤ E. Linear in both, so that a weighted mean of packed texts is the
    packed weighted mean.
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


def _rows(pooled_width: int, width: int) -> int:
    """Rows of `width` numbers that hold `pooled_width` numbers."""
    return -(-pooled_width // width)
