"""Random solid background colors, one per image."""

from torch import Tensor

RANDOM_NUMBERS = 5
"""Uniform numbers that `random_backgrounds` needs per image."""


def random_backgrounds(u: Tensor) -> Tensor:
    """Map uniform numbers [B, 5] in [0, 1) to colors [B, 3] in [0, 1), half of them gray.

    Gray is frequent because most renders are shown on a gray background. The priors and
    classifiers that gs3d trains see these backgrounds, and a run renders its splats on them too.
    """
    return u[:, 2:5].where(u[:, :1] >= 0.5, u[:, 1:2])
