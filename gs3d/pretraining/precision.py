"""What numbers a training multiplies in."""

import torch


def precision(device: str, half: bool | None) -> torch.autocast:
    """The context to call a network in: bfloat16 where `half`, None meaning on a GPU. A CPU gains by it if it has AVX-512 BF16 or AMX."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda" if half is None else half)
