# pyright: reportUnknownMemberType=false
# torch has no complete types.
"""The camera as an input of a network: numbers that describe it, and what they add to the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from gs3d.core.cameras import Cameras

if TYPE_CHECKING:
    from jaxtyping import Float

FEATURES = 6
"""Numbers that describe a camera."""


def camera_features(cameras: Cameras) -> Float[Tensor, "B 6"]:
    """Sine and cosine of azimuth and elevation, ln of the distance, ln of tan(fovy / 2).

    They are those of `core.cameras.orbit`; a shift of the camera along its image is not among them.
    """
    distance = cast(Tensor, cameras.centers.norm(dim=1))
    half_height = 0.5 * cameras.height / cameras.intrinsics[:, 1, 1]
    azimuth, elevation = cameras.azimuth_rad, cameras.elevation_rad
    parts = (azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos())
    return torch.stack([*parts, distance.log(), half_height.log()], dim=1)


class CameraEmbedding(nn.Module):
    """Two layers from the numbers of a camera to what is added to a time embedding.

    The last layer starts as zero, so that a new one adds nothing.
    """

    def __init__(self, width: int, generator: torch.Generator):
        super().__init__()
        self.hidden = nn.Linear(FEATURES, width, device="meta").to_empty(device="cpu")
        self.out = nn.Linear(width, width, device="meta").to_empty(device="cpu")
        for parameter in (self.hidden.bias, self.out.weight, self.out.bias):
            nn.init.zeros_(parameter)
        nn.init.normal_(self.hidden.weight, std=FEATURES**-0.5, generator=generator)

    def forward(self, features: Float[Tensor, "B 6"]) -> Float[Tensor, "B W"]:
        return self.out(nn.functional.silu(self.hidden(features)))
