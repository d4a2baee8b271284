"""The prior: Stable Diffusion's latents, in groups of four views with their cameras."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gs3d.core.cameras import GROUP
from gs3d.priors.latent import LatentPrior
from gs3d.priors.mvdream.text import split, with_cameras

if TYPE_CHECKING:
    from jaxtyping import Float

    from gs3d.core.cameras import Cameras
    from gs3d.priors.loading.components import Components, Source

VIEWS = GROUP
"""Views in a group. The network takes any number, and was trained with four."""


class MvDreamPrior(LatentPrior):
    """MVDream. Implements `base.Prior`, with the optional member `with_cameras`.

    Rows 4k to 4k + 3 of a batch are one group, and have one noise level.
    """

    @staticmethod
    def of(
        parts: Components, checkpoint_encoder: bool = False, autoencoder: Source | None = None
    ) -> MvDreamPrior:
        """Build the prior; see `LatentPrior.of`."""
        prior = LatentPrior.of(parts, checkpoint_encoder, autoencoder)
        return MvDreamPrior(**{f.name: getattr(prior, f.name) for f in fields(prior)})

    @property
    def views(self) -> int:
        return VIEWS

    def with_cameras(
        self, text: Float[Tensor, "B M E"], cameras: Cameras
    ) -> Float[Tensor, "B M E"]:
        """The text with the camera of each view.

        The negative prompt gets them too: classifier-free guidance changes the text alone, as in
        the released code.
        """
        return with_cameras(text, cameras)

    def denoise(
        self,
        z: Float[Tensor, "B C h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B M E"],
    ) -> Float[Tensor, "B C h w"]:
        """D for groups of four views, without gradient.

        Raises ValueError if B is not a multiple of 4, if the views of a group have several noise
        levels, or if `text` is without cameras.
        """
        if len(z) % VIEWS:
            raise ValueError(f"denoise: expected a multiple of {VIEWS} views, got {len(z)}")
        # These two wait for a GPU. So does `base.guided` before it calls this.
        groups = sigma.reshape(-1, VIEWS)
        if not torch.equal(groups, groups[:, :1].expand_as(groups)):
            mixed = groups[(groups != groups[:, :1]).any(dim=1)][0]
            raise ValueError(
                f"denoise: expected one noise level for the {VIEWS} views of a group, got "
                + ", ".join(f"{float(level):g}" for level in mixed)
            )
        # The last number of a matrix is 1.
        if not split(text)[1][:, -1].all():
            raise ValueError(
                "denoise: expected a text with the camera of each view; `with_cameras` adds it"
            )
        return super().denoise(z, sigma, text)
