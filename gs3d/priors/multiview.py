"""A multi-view prior: it denoises four views of an object jointly (MVDream, Shi et al. 2023).

So the views agree on where the front of the object is. The four views of a group are the quarters
of one image of twice the side: front and left above, back and right below. The network is therefore
an ordinary single-image network: every patch of a view attends to every patch of the other views.
The caption names the camera of the first view. `mvdream` has the model of that paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from gs3d.core.cameras import GROUP
from gs3d.core.errors import UserError
from gs3d.priors.loading.components import Components
from gs3d.priors.pixel import PixelPrior

if TYPE_CHECKING:
    from jaxtyping import Float

VIEWS = GROUP


def to_grid(views: Float[Tensor, "B C h w"]) -> Float[Tensor, "B//4 C 2*h 2*w"]:
    """Tile each group of four views into one image.

    Raises ValueError if the number of views is not a multiple of 4.
    """
    if len(views) % VIEWS:
        raise ValueError(f"to_grid: expected a multiple of {VIEWS} views, got {len(views)}")
    count, c, h, w = views.shape
    return (
        views.reshape(count // VIEWS, 2, 2, c, h, w)
        .permute(0, 3, 1, 4, 2, 5)
        .reshape(count // VIEWS, c, 2 * h, 2 * w)
    )


def from_grid(grids: Float[Tensor, "G C H W"]) -> Float[Tensor, "4*G C H//2 W//2"]:
    """Inverse of `to_grid`."""
    count, c, h, w = grids.shape
    return (
        grids.reshape(count, c, 2, h // 2, 2, w // 2)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(VIEWS * count, c, h // 2, w // 2)
    )


class MultiViewPrior(PixelPrior):
    """A network on 2×2 grids of views. Implements `base.Prior`.

    Rows 4k to 4k + 3 of a batch are one group and have one noise level.
    """

    @staticmethod
    def of(parts: Components) -> MultiViewPrior:
        """Build the prior. Raises `UserError` if the network's image size is odd."""
        prior = PixelPrior.of(parts)
        grid_size = prior.image_size
        if grid_size % 2:
            raise UserError(
                f"prior {parts.source.name}: expected an even image size for a grid of four views, "
                f"got {grid_size}; use another model"
            )
        return MultiViewPrior(prior.source, prior.network, prior.text, grid_size // 2)

    @property
    def views(self) -> int:
        return VIEWS

    def denoise(
        self,
        z: Float[Tensor, "B 3 S S"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float[Tensor, "B 3 S S"]:
        """D for groups of four views; each group has the sigma and text of its first view."""
        return from_grid(self.network.denoise(to_grid(z), sigma[::VIEWS], text[::VIEWS]))
