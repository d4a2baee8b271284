"""A prior that computes a few views at a time, with the results of the whole batch.

The encoder's activations are most of what an iteration holds (docs/gpu.md). With micro-batches only
those of a few views exist at once: the others are computed again in the backward pass (Chen et al.
2016, arXiv 1604.06174). Losses, noise and renders are those of the whole batch, and so is the
gradient: it is not an approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gs3d.priors.base import Prior

if TYPE_CHECKING:
    from jaxtyping import Float


def rows_of(batch: int, most: int, views: int = 1) -> int:
    """Size of the micro-batches: the largest of at most `most` views that divides `batch`.

    It is a multiple of `views`, the number that the prior denoises together, and at least that.
    `views` must divide `batch`.
    """
    sizes = range(views, batch + 1, views)
    return max((n for n in sizes if batch % n == 0 and n <= most), default=views)


def in_micro_batches(prior: Prior, batch: int, rows: int) -> Prior:
    """`prior`, made to compute `rows` of the `batch` views of an iteration at once.

    All other members are those of `prior`. If `rows` is the whole batch, this is `prior` itself.
    Raises `ValueError` unless `rows` divides `batch` and is a multiple of `prior.views`.
    """
    if rows < 1 or batch % rows or rows % prior.views:
        raise ValueError(
            f"micro_batch: expected a divisor of the batch {batch} that is a multiple of "
            f"{prior.views}, got {rows}"
        )
    return prior if rows == batch else cast(Prior, _InMicroBatches(prior, batch, rows))


@dataclass(frozen=True)
class _InMicroBatches:
    """Implements `base.Prior`."""

    prior: Prior
    batch: int
    rows: int

    def __getattr__(self, name: str) -> Any:
        # Also optional members, and those that a loss of the user's own may ask its prior for.
        if name == "prior":  # before there is one, as when an object is copied
            raise AttributeError(name)
        return getattr(self.prior, name)

    def encode(self, rgb: Float[Tensor, "B H H 3"]) -> Float[Tensor, "B C h w"]:
        *others, last = rgb.split(self.rows)
        # An encoder draws no random numbers (`LatentPrior.encode`), and saving their state would
        # wait for a GPU.
        encoded = [
            cast(
                Tensor,
                checkpoint(self.prior.encode, x, use_reentrant=False, preserve_rng_state=False),
            )
            for x in others
        ]
        # The backward pass begins with the last ones, so that these need not be computed again.
        return torch.cat([*encoded, self.prior.encode(last)])

    def denoise(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float[Tensor, "B C h w"]:
        # Guidance gives a multiple of the batch: each view with each of its texts.
        rows = max(len(z) // self.batch, 1) * self.rows
        parts = zip(z.split(rows), sigma.split(rows), text.split(rows), strict=True)
        return torch.cat([self.prior.denoise(*part) for part in parts])
