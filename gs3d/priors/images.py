"""Image layouts: [B, H, W, 3] in [0, 1] outside a prior, [B, 3, S, S] in [−1, 1] inside."""

import torch
from torch import Tensor
from torch.nn import functional


def to_network(rgb: Tensor, size: int) -> Tensor:
    """[B, H, H, 3] in [0, 1] → [B, 3, size, size] in [−1, 1], float32, differentiable.

    Square images of another size are resized: with an antialiased bilinear filter when they shrink,
    with plain bilinear interpolation when they grow (antialiasing has no effect then). Values above
    1 are not clamped, because clamping would stop the gradient that brings them back.

    Raises ValueError if the images are not square.
    """
    if rgb.ndim != 4 or rgb.shape[3] != 3 or rgb.shape[1] != rgb.shape[2]:
        raise ValueError(f"encode: expected square images [B, H, H, 3], got {list(rgb.shape)}")
    x = rgb.permute(0, 3, 1, 2).float() * 2 - 1
    if x.shape[2] == size:
        return x
    # The antialiased filter is several times slower on the strided view that permute leaves.
    return functional.interpolate(
        x.contiguous(), size=(size, size), mode="bilinear", antialias=True
    )


def from_network(x: Tensor) -> Tensor:
    """[B, 3, S, S] in [−1, 1] → [B, S, S, 3] in [0, 1], float32, clamped."""
    return ((x.float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)


def memory_format(device: torch.device) -> torch.memory_format:
    """Memory layout for a convolutional network's weights; channels last is faster on CPUs."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format
