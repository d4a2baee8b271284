"""Pictures on their way into and out of a network: [B, H, W, 3] in [0, 1] outside, [B, 3, S, S] in [−1, 1] inside."""

import torch
from torch import Tensor
from torch.nn import functional


def to_network(rgb: Tensor, size: int) -> Tensor:
    """[B, H, W, 3] in [0, 1] → [B, 3, size, size] in [−1, 1], float32, differentiable.

    Square pictures of another size are resized: by an antialiased bilinear filter when they shrink, by plain bilinear interpolation when
    they grow (the antialiasing does nothing then). Values above 1 are let through, because clamping would stop the very gradient
    that brings them back.
    """
    if rgb.ndim != 4 or rgb.shape[3] != 3 or rgb.shape[1] != rgb.shape[2]:
        raise ValueError(f"encode: expected square pictures [B, H, H, 3], got {list(rgb.shape)}")
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
    """How to lay out the weights of a convolutional network: channels last is the faster order on CPUs."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format
