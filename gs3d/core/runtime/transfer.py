"""Tensors from the program's memory to a device, without waiting for the device."""

import torch
from torch import Tensor


def moved(x: Tensor, device: torch.device | str) -> Tensor:
    """`x` on `device`, as `x.to(device)` gives it.

    A plain copy to a CUDA device waits until the device has done all it was asked for before. With
    this one CUDA takes the numbers into memory of its own, and the program goes on; it may change
    `x` at once. `x` must not lie in pinned memory, which CUDA reads later.
    """
    to_card = x.device.type == "cpu" and torch.device(device).type == "cuda"
    return x.to(device, non_blocking=to_card)
