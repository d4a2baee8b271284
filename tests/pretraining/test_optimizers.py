"""Muon, which moves the matrices of the prior in training."""

import pytest
import torch
from torch import nn

from gs3d.pretraining.optimizers import Muon, orthogonal

SHAPES = [(32, 8), (8, 32), (16, 16), (16, 16)]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_muon_moves_matrices_as_torchs_own_does():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    before = [p.detach().clone() for p in ours]
    optimizers = [
        Muon(ours, 0.01),
        torch.optim.Muon(theirs, lr=0.01, weight_decay=0.0, adjust_lr_fn="original"),
    ]
    for _ in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b, old in zip(ours, theirs, before, strict=True):
        assert (a - b).norm() < 0.02 * (
            a - old
        ).norm()  # bfloat16 may be rounded in another order elsewhere


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_orthogonal_brings_all_singular_values_near_one(shape):
    sizes = torch.tensor([1e-3, 1.0, 10.0, 1e3])[:, None, None]
    matrices = sizes * torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(matrices).float())
    assert (
        values.min() > 0.5 and values.max() < 1.4
    )  # Jordan's coefficients are for speed: they stop near one


def test_a_matrix_without_a_gradient_stays():
    weights = [nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))]
    weights[0].grad = torch.eye(4)
    Muon(weights, 0.1).step()
    assert not torch.equal(weights[0], torch.ones(4, 4))
    assert torch.equal(weights[1], torch.ones(4, 4))
