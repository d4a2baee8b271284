"""Numeric precision of training."""

from functools import cache
from pathlib import Path

import torch

INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Names that Linux has for instructions of processors that multiply matrices of bfloat16."""


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether products of matrices are faster in bfloat16 than in float32. On a CPU without
    instructions for it they are slower."""
    return device.type != "cpu" or _has_instructions()


@cache
def _has_instructions() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:  # another system
        return False
    return any(name in flags for name in INSTRUCTIONS)


def precision(device: str, half: bool | None) -> torch.autocast:
    """Return the autocast context for a network's forward pass, bfloat16 if `half`.

    None means bfloat16 on a GPU and float32 on a CPU. A CPU gains from bfloat16 if it has AVX-512
    BF16 or AMX.
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda" if half is None else half)
