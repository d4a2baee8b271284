"""What stands behind an object where nothing else does: one solid color a picture."""

from torch import Tensor

RANDOM_NUMBERS = 5
"""How many uniform numbers a background is made from."""


def random_backgrounds(u: Tensor) -> Tensor:
    """Uniform numbers [B, 5] in [0, 1) → colors [B, 3]; half of them gray, since that is what a render is mostly set against.

    The priors and classifiers that gs3d trains have seen these, and a run puts its splats on the same.
    """
    return u[:, 2:5].where(u[:, :1] >= 0.5, u[:, 1:2])
