"""Optimizers of the built-in prior and of CLIP: Muon (Jordan et al. 2024) and AdamW."""

from collections import defaultdict
from collections.abc import Iterable

import torch

# torch's own optimizers use these, but its types do not export them.
from torch import (
    Tensor,
    _foreach_add_,  # pyright: ignore[reportPrivateImportUsage]
    _foreach_lerp,  # pyright: ignore[reportPrivateImportUsage]
    _foreach_lerp_,  # pyright: ignore[reportPrivateImportUsage]
    nn,
)

from gs3d.pretraining.precision import has_fast_bfloat16
from gs3d.priors import builtin


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon` with its "original" learning-rate adjustment, batched over matrices.

    It updates all matrices of one shape together. The prior has about a hundred small matrices;
    updating them one by one took more than a third of a training step on two cores.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for weight in weights:
                by_shape[weight.shape].append(weight)
                if "momentum_buffer" not in self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
            for shape, alike in by_shape.items():
                gradients = [p.grad for p in alike if p.grad is not None]
                buffers = [self.state[p]["momentum_buffer"] for p in alike]
                _foreach_lerp_(buffers, gradients, 1 - group["momentum"])
                updates = orthogonal(
                    torch.stack(_foreach_lerp(gradients, buffers, group["momentum"]))
                )
                rows, columns = shape
                _foreach_add_(
                    alike,
                    list(updates.to(alike[0].dtype)),
                    alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5,
                )


def orthogonal(matrices: Tensor) -> Tensor:
    """Approximate U Vᵀ of the singular vectors of each of the matrices [N, R, C].

    Runs five Newton–Schulz steps with Jordan's coefficients, in bfloat16 where that is fast.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x.bfloat16() if has_fast_bfloat16(x.device) else x.float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445
        )
    return x.mT if tall else x


def optimizers_of(model: nn.Module, lr: float, muon_lr: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the model and AdamW for everything else.

    AdamW also trains the embeddings of words and positions and the last layer of the prior.
    """
    matrices, last, rest = [], [], []
    for name, weight in model.named_parameters():
        is_last = "proj_out" in name
        is_matrix = weight.ndim == 2 and not is_last and "embedding.weight" not in name
        (last if is_last else matrices if is_matrix else rest).append(weight)
    # The network's output is DATA_STD / SIGMA_DATA times as large as its other activations.
    last_lr = lr * builtin.DATA_STD / builtin.SIGMA_DATA
    groups = [{"params": rest}, *([{"params": last, "lr": last_lr}] if last else [])]
    return [
        Muon(matrices, muon_lr),
        torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True),
    ]
