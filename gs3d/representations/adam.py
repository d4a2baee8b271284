"""Adam, and its moments as flat dictionaries for checkpoints."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """`torch.optim.Adam` with the members that gs3d and gsplat use; torch computes the steps.

    torch's class imports torch's compiler when it is made, which takes as long as importing the
    rest of torch.
    """

    def __init__(
        self,
        groups: Iterable[Sequence[Tensor]],
        rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-15,
    ):
        """`groups` are lists of parameters whose rates, the "lr" of `param_groups`, may differ.

        `eps` is far below Adam's default: a splat that covers few pixels has tiny gradients but
        still has to move.
        """
        self.param_groups: list[dict[str, Any]] = [{"params": g, "lr": rate} for g in groups]
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)
        self._betas, self._eps = betas, eps

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient (Kingma & Ba 2015, Algorithm 1)."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            states = [self._state_of(p) for p in parameters]
            adam(
                parameters,
                [p.grad for p in parameters],
                [s["exp_avg"] for s in states],
                [s["exp_avg_sq"] for s in states],
                [],
                [s["step"] for s in states],
                amsgrad=False,
                beta1=self._betas[0],
                beta2=self._betas[1],
                lr=group["lr"],
                weight_decay=0.0,
                eps=self._eps,
                maximize=False,
            )

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        if not (state := self.state[parameter]):
            # torch counts on the CPU, on every device.
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state

    def zero_grad(self) -> None:
        """Clear the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None


Named = Mapping[str, tuple[Tensor, Adam]]
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
            optimizer.state[parameter] = {
                k: v.clone() if k == "step" else v.to(parameter.device).clone()
                for k, v in moments.items()
            }
