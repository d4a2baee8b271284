"""Numeric precision of training."""

import torch


def precision(device: str, half: bool | None) -> torch.autocast:
    """Return the autocast context for a network's forward pass, bfloat16 if `half`.

    None means bfloat16 on a GPU and float32 on a CPU. A CPU gains from bfloat16 if it has AVX-512
    BF16 or AMX.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda" if half is None else half)
