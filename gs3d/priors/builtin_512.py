"""The built-in network in the form of Stable Diffusion: latents of 512² images, rough view words.

The presets for Stable Diffusion run with it as they are, without Stable Diffusion's weights, and
their results can be graded. It knows what the built-in prior knows, and no more detail than its
64² pixels have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor
from torch.nn import functional

from gs3d.priors.builtin import IMAGE_SIZE
from gs3d.priors.images import check_square, from_network
from gs3d.priors.loading.components import Source
from gs3d.priors.network import Network, TextEncoder
from gs3d.priors.pixel import PixelPrior
from gs3d.priors.scalings import VpTable
from gs3d.priors.text.several import TextEncoders

if TYPE_CHECKING:
    from jaxtyping import Float

NAME = "builtin-512"
FRONT_NAME = "builtin-512-front"
FRONT_SHARE = 0.3
"""How much of the front the other views of `builtin-512-front` have."""
DOWNSAMPLING = 8
LATENT_SCALE = 2.0
"""Factor that gives latents a standard deviation of about 1, as Stable Diffusion's have: images in
[−1, 1] have 0.5 (`priors.builtin.DATA_STD`)."""
MIX = ((0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5), (0.5, -0.5, -0.5))
"""Linear map of three colors to four channels, as columns of a Hadamard matrix.

Its columns are orthonormal, so white noise on the latents is white noise on the colors, and the
network of colors gives the exact denoiser of the latents."""
TABLE = VpTable.scaled_linear()


def load(device: torch.device) -> Builtin512:
    """The prior on `device`. Raises `UserError` if the built-in weights are missing."""
    from gs3d.priors.loading import resolve

    return Builtin512(cast(PixelPrior, resolve.load("builtin", device)))


def load_with_front(device: torch.device) -> Builtin512:
    """`load` with a preference for the front, as photographs have it.

    The embedding of a side or back view is partly that of the front, so that objects grow a second
    face there. It is for measuring what helps against that.
    """
    return replace(load(device), name=FRONT_NAME, front_share=FRONT_SHARE)


@dataclass(frozen=True)
class Builtin512:
    """The built-in prior behind a fixed linear encoder. Implements `base.Prior`."""

    colors: PixelPrior
    """The built-in prior, on 64² pixels."""

    name: str = NAME
    front_share: float = 0.0
    views: ClassVar[int] = 1
    exact_views: ClassVar[bool] = False

    @property
    def source(self) -> Source:
        return self.colors.source

    @property
    def network(self) -> Network:
        return self.colors.network

    @property
    def text(self) -> TextEncoder | TextEncoders:
        return self.colors.text

    @property
    def device(self) -> torch.device:
        return self.colors.device

    @property
    def image_size(self) -> int:
        return DOWNSAMPLING * IMAGE_SIZE

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return (len(MIX), IMAGE_SIZE, IMAGE_SIZE)

    def sigma(self, t: float) -> float:
        """Noise level of Stable Diffusion at time t."""
        return TABLE.sigma(t)

    def embed(self, prompts: list[str]) -> Float[Tensor, "P L E"]:
        embedded = self.colors.embed(prompts)
        if not self.front_share:
            return embedded
        fronts = [re.sub(r"\b(side|back) view$", "front view", prompt) for prompt in prompts]
        return embedded.lerp(self.colors.embed(fronts), self.front_share)

    def free_text_encoder(self) -> None:
        self.colors.free_text_encoder()

    def encode(self, rgb: Float[Tensor, "B H H 3"]) -> Float[Tensor, "B 4 h w"]:
        return encode(rgb)

    @torch.no_grad()
    def decode(self, z: Float[Tensor, "B 4 h w"]) -> Float[Tensor, "B S S 3"]:
        size = (self.image_size, self.image_size)
        return from_network(functional.interpolate(_to_colors(z), size, mode="bilinear"))

    def denoise(
        self,
        z: Float[Tensor, "B 4 h w"],
        sigma: Float[Tensor, " B"],
        text: Float[Tensor, "B L E"],
    ) -> Float[Tensor, "B 4 h w"]:
        """D(z, σ, y). The direction that no color maps to is zero in all latents, and in D."""
        return _from_colors(self.colors.denoise(_to_colors(z), sigma / LATENT_SCALE, text))


def encode(rgb: Float[Tensor, "B H H 3"]) -> Float[Tensor, "B 4 64 64"]:
    """Images in [0, 1] → latents, by a linear map.

    Images of another size are first resized to 512², as for Stable Diffusion's autoencoder.
    """
    check_square(rgb)
    rows = _resizing(rgb.shape[1], rgb.device)
    x = rows @ (rgb.float() * 2 - 1).flatten(2)
    x = x.reshape(len(rgb), IMAGE_SIZE, rgb.shape[2], 3).permute(0, 3, 1, 2)
    return _from_colors(x @ rows.T)


@cache
def _resizing(side: int, device: torch.device) -> Float[Tensor, "64 H"]:
    """The resizing of one side of an image, as a matrix.

    On a CPU, the product and its gradient take less time than interpolation and its gradient: one
    sixteenth for images of 128², two thirds for 512².
    """
    rows = torch.eye(side, device=device)[None, None]
    for height in (DOWNSAMPLING * IMAGE_SIZE, IMAGE_SIZE):
        rows = functional.interpolate(rows, (height, side), mode="bilinear", antialias=True)
    return rows[0, 0]


def _from_colors(x: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B 4 h w"]:
    return LATENT_SCALE * torch.einsum("lc,bchw->blhw", _mix(x.device), x)


def _to_colors(z: Float[Tensor, "B 4 h w"]) -> Float[Tensor, "B 3 h w"]:
    return torch.einsum("lc,blhw->bchw", _mix(z.device), z) / LATENT_SCALE


@cache
def _mix(device: torch.device) -> Tensor:
    """`MIX` on a device, copied there once."""
    return torch.tensor(MIX).to(device)
