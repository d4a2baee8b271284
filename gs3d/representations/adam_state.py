"""Adam's moments as flat dictionaries, for checkpoints."""

from collections.abc import Mapping

import torch
from torch import Tensor

Named = Mapping[str, tuple[Tensor, torch.optim.Optimizer]]
"""Name → a parameter and the optimizer that moves it."""


def moments_of(named: Named) -> dict[str, Tensor]:
    """`adam.NAME.KEY` → what the optimizer remembers of each parameter; nothing before its first step."""
    return {
        f"adam.{name}.{k}": v
        for name, (parameter, optimizer) in named.items()
        for k, v in optimizer.state.get(parameter, {}).items()
    }


def put_moments(named: Named, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `moments_of`."""
    for name, (parameter, optimizer) in named.items():
        head = f"adam.{name}."
        moments = {k[len(head) :]: v for k, v in tensors.items() if k.startswith(head)}
        if moments:  # Adam counts its steps on the CPU whatever the parameter lives on
            optimizer.state[parameter] = {
                k: v.clone() if k == "step" else v.to(parameter.device).clone()
                for k, v in moments.items()
            }
