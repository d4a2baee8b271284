"""Muon, the optimizer of the prior's matrices."""

import pytest
import torch
from torch import nn

from gs3d.pretraining.optimizers import Muon, orthogonal

SHAPES = [(32, 8), (8, 32), (16, 16), (16, 16)]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
def test_muon_equals_that_of_torch():
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
        # Not exactly equal: bfloat16 rounding depends on the order of operations.
        assert (a - b).norm() < 0.02 * (a - old).norm()


@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_orthogonal_brings_all_singular_values_near_one(shape):
    sizes = torch.tensor([1e-3, 1.0, 10.0, 1e3])[:, None, None]
    matrices = sizes * torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(matrices).float())
    # Jordan's coefficients favor speed, so the values only come near one.
    assert values.min() > 0.5 and values.max() < 1.4


def test_matrix_without_a_gradient_does_not_change():
    weights = [nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))]
    weights[0].grad = torch.eye(4)
    Muon(weights, 0.1).step()
    assert not torch.equal(weights[0], torch.ones(4, 4))
    assert torch.equal(weights[1], torch.ones(4, 4))
