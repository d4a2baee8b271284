"""Solid background colors, one per image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core import rng

if TYPE_CHECKING:
    from jaxtyping import Float

RANDOM_NUMBERS = 5
"""Uniform numbers that `random_backgrounds` needs per image."""


def random_backgrounds(u: Float[Tensor, "B 5"]) -> Float[Tensor, "B 3"]:
    """Map uniform numbers in [0, 1) to colors in [0, 1), half of them gray.

    Gray is frequent because most renders are shown on a gray background. The priors and
    classifiers that gs3d trains see these backgrounds, and a run renders its splats on them too.
    """
    return u[:, 2:5].where(u[:, :1] >= 0.5, u[:, 1:2])


def background_colors(kind: str, batch: int, seed: int, step: int) -> Float[Tensor, "B 3"]:
    """Background colors in [0, 1] of a batch of renders; `kind` is white, gray, black or random."""
    if kind != "random":
        return torch.full((batch, 3), {"white": 1.0, "gray": 0.5, "black": 0.0}[kind])
    return random_backgrounds(
        torch.rand(batch, RANDOM_NUMBERS, generator=rng.generator(seed, "background", step))
    )
