"""Image layouts: [B, H, W, 3] in [0, 1] outside a prior, [B, 3, S, S] in [−1, 1] inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float, Float32

MAX_SIDE = 2048
"""Largest side in pixels of the images of a network."""


def to_network(rgb: Float[Tensor, "B H H 3"], size: int) -> Float32[Tensor, "B 3 S S"]:
    """Values in [0, 1] → values in [−1, 1] at a side of S = `size`, differentiable.

    Square images of another size are resized: with an antialiased bilinear filter when they shrink,
    with plain bilinear interpolation when they grow (antialiasing has no effect then). Values above
    1 are not clamped, because clamping would stop the gradient that brings them back.

    Raises ValueError if the images are not square.
    """
    check_square(rgb)
    x = rgb.permute(0, 3, 1, 2).float() * 2 - 1
    if x.shape[2] == size:
        return x
    # The antialiased filter is several times slower on the strided view that permute leaves.
    return functional.interpolate(
        x.contiguous(), size=(size, size), mode="bilinear", antialias=True
    )


def check_square(rgb: Tensor) -> None:
    """Raise ValueError unless `rgb` are square images [B, H, H, 3]."""
    if rgb.ndim != 4 or rgb.shape[3] != 3 or rgb.shape[1] != rgb.shape[2]:
        raise ValueError(f"encode: expected square images [B, H, H, 3], got {list(rgb.shape)}")


def from_network(x: Float[Tensor, "B 3 S S"]) -> Float32[Tensor, "B S S 3"]:
    """Values in [−1, 1] → values in [0, 1], clamped."""
    return ((x.float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)


def memory_format(device: torch.device) -> torch.memory_format:
    """Memory layout for a convolutional network's weights; channels last is faster on CPUs."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def downsampling(config: Mapping[str, Any]) -> int:
    """Side of a latent in pixels, by the configuration of an autoencoder.

    There is a factor of 2 between consecutive levels of the encoder.
    """
    levels = config.get("block_out_channels") or config["encoder_block_out_channels"]
    return 2 ** (len(levels) - 1)


def is_side(value: object) -> bool:
    """Whether a setting is the side of a square that a network can work on."""
    return type(value) is int and 1 <= value <= MAX_SIDE
