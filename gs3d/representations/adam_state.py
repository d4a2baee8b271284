"""Save and restore the moments of Adam as flat dictionaries, for checkpoints."""

from collections.abc import Mapping

import torch
from torch import Tensor

Named = Mapping[str, tuple[Tensor, torch.optim.Optimizer]]
"""Parameter name → (parameter, the optimizer that updates it)."""


def moments_of(named: Named) -> dict[str, Tensor]:
    """Return the optimizer state as `adam.NAME.KEY` → tensor; empty before the first step."""
    return {
        f"adam.{name}.{k}": v
        for name, (parameter, optimizer) in named.items()
        for k, v in optimizer.state.get(parameter, {}).items()
    }


def put_moments(named: Named, tensors: Mapping[str, Tensor]) -> None:
    """Restore the optimizer state that `moments_of` returned."""
    for name, (parameter, optimizer) in named.items():
        prefix = f"adam.{name}."
        moments = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
        if moments:
            # Adam keeps its step count on the CPU, on every device.
            optimizer.state[parameter] = {
                k: v.clone() if k == "step" else v.to(parameter.device).clone()
                for k, v in moments.items()
            }
