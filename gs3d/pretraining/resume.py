"""Checkpoints and batch order of a training run, so that it resumes exactly.

A checkpoint is one file with weights, averages and optimizer moments. The batch order depends only
on the seed and the number of samples seen.
"""

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gs3d.core.rng import derive_seed

NAME = "checkpoint.safetensors"
Networks = dict[str, nn.Module | dict[str, Tensor]]


def save(
    folder: Path, seen: int, networks: Networks, optimizers: Sequence[torch.optim.Optimizer]
) -> None:
    """Write `folder`/checkpoint.safetensors atomically: a killed process leaves a complete file."""
    tensors = {
        f"optimizer.{i}.{j}.{k}": v
        for i, optimizer in enumerate(optimizers)
        for j, state in optimizer.state_dict()["state"].items()
        for k, v in state.items()
    }
    for name, network in networks.items():
        state = network if isinstance(network, dict) else network.state_dict()
        tensors |= {f"{name}.{k}": v for k, v in state.items()}
    temporary = folder / "checkpoint.tmp"
    save_file(
        {k: v.contiguous().clone() for k, v in tensors.items()},
        temporary,
        metadata={"images": str(seen)},
    )
    os.replace(temporary, folder / NAME)


def begun(folder: Path) -> bool:
    """Return whether `folder` has a checkpoint."""
    return (folder / NAME).exists()


def resume(folder: Path, networks: Networks, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    """Load the checkpoint in `folder`, if any, into networks and optimizers.

    Returns the number of images seen, 0 without a checkpoint. Raises `ValueError` for a checkpoint
    of an older version.
    """
    if not begun(folder):
        return 0
    path = folder / NAME
    tensors = load_file(path)
    for i, optimizer in enumerate(optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for key in [k for k in tensors if k.startswith(f"optimizer.{i}.")]:
            _, _, j, name = _split_key(key, path)
            like, value = parameters[int(j)], tensors[key]
            # Fused Adam walks through memory, so a moment needs the memory layout of its weight:
            # channels last must stay channels last.
            moments.setdefault(int(j), {})[name] = (
                torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            )
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    with torch.no_grad():
        for name, network in networks.items():
            state = network if isinstance(network, dict) else network.state_dict()
            for k, v in state.items():
                v.copy_(tensors[f"{name}.{k}"])
    with safe_open(path, "pt") as f:
        return int(f.metadata()["images"])


def _split_key(key: str, path: Path) -> list[str]:
    parts = key.split(".", 3)
    if len(parts) != 4:
        raise ValueError(
            f"{path}: checkpoint of an older version; start again in another directory"
        )
    return parts


def batch_indices(count: int, batch: int, seed: int, seen: int) -> np.ndarray:
    """Return the indices [batch] into `count` samples for the step after `seen` samples.

    Each epoch has its own shuffle, a function of (seed, epoch).
    """
    epoch, at = divmod(seen // batch, max(count // batch, 1))
    return _order(count, seed, epoch)[at * batch : (at + 1) * batch]


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng(derive_seed(seed, "order", epoch)).permutation(count)
