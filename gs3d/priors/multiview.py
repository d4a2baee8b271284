"""A prior that looks at four views of an object at once (MVDream, Shi et al. 2023), so that they agree on where its front is.

The views of a group are the quarters of one picture of twice the size: front and left above, back and right below. So the
network is one of those that draw single pictures, every patch of a view attends to every patch of the others, and the caption names the
camera of the first.
"""

from typing import ClassVar

from torch import Tensor

from gs3d.core.cameras import GROUP
from gs3d.core.errors import UserError
from gs3d.priors.loading.components import Components
from gs3d.priors.network import Network
from gs3d.priors.pixel import PixelPrior

VIEWS = GROUP


def to_grid(views: Tensor) -> Tensor:
    """[4G, C, h, w] → [G, C, 2h, 2w]."""
    if len(views) % VIEWS:
        raise ValueError(f"to_grid: expected whole groups of {VIEWS} views, got {len(views)}")
    count, c, h, w = views.shape
    return (
        views.reshape(count // VIEWS, 2, 2, c, h, w)
        .permute(0, 3, 1, 4, 2, 5)
        .reshape(count // VIEWS, c, 2 * h, 2 * w)
    )


def from_grid(grids: Tensor) -> Tensor:
    """The inverse of `to_grid`."""
    count, c, h, w = grids.shape
    return (
        grids.reshape(count, c, 2, h // 2, 2, w // 2)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(VIEWS * count, c, h // 2, w // 2)
    )


class MultiViewPrior(PixelPrior):
    """A network over grids of four pictures. Implements `base.Prior`; rows 4k to 4k + 3 of a batch are one group, at one noise level."""

    views: ClassVar[int] = VIEWS

    @staticmethod
    def of(parts: Components) -> "MultiViewPrior":
        single = PixelPrior.of(parts)
        if single.image_size % 2:
            raise UserError(
                f"prior {parts.source.name}: four views make a picture of an even size, got {single.image_size}"
            )
        return MultiViewPrior(
            parts.source, Network(parts.backbone, parts.scaling), parts.text, single.image_size // 2
        )

    def denoise(self, z: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
        return from_grid(self.network.denoise(to_grid(z), sigma[::VIEWS], text[::VIEWS]))
