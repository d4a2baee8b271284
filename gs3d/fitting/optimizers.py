"""What moves which weight of the built-in prior: Muon (Jordan et al. 2024) and AdamW."""

import torch
from torch import nn

from gs3d.priors import builtin


def optimizers_of(model: nn.Module, lr: float, muon_lr: float) -> list[torch.optim.Optimizer]:
    """Muon for all matrices but the embeddings of words and positions and the last layer, AdamW for these and all else."""
    if not hasattr(torch.optim, "Muon"):
        raise RuntimeError(f"training the prior needs torch 2.9 or later, which has Muon; this is {torch.__version__}")
    matrices, last, rest = [], [], []
    for name, weight in model.named_parameters():
        is_last = "proj_out" in name
        is_matrix = weight.ndim == 2 and not is_last and "embedding.weight" not in name
        (last if is_last else matrices if is_matrix else rest).append(weight)
    # What the network says is DATA_STD / SIGMA_DATA times as large as its other numbers.
    last_lr = lr * builtin.DATA_STD / builtin.SIGMA_DATA
    muon = torch.optim.Muon(matrices, lr=muon_lr, weight_decay=0.0, adjust_lr_fn="original")
    groups = [{"params": rest}, {"params": last, "lr": last_lr}]
    return [muon, torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)]
