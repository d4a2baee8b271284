"""`Adam` takes the steps of `torch.optim.Adam`, to the bit."""

import pytest
import torch

from gs3d.core import rng
from gs3d.representations.adam import Adam, moments_of, put_moments

SHAPES = ((5, 3), (4,), (2, 2))
BETAS = (0.9, 0.99)


def parameters():
    return [torch.nn.Parameter(rng.normal(s, i, "parameter")) for i, s in enumerate(SHAPES)]


def step(optimizer, found, number):
    """One step with gradients that depend on its number; the last parameter has one at times."""
    optimizer.param_groups[1]["lr"] = 0.1 / (1 + number)
    for i, parameter in enumerate(found):
        has_gradient = i < len(found) - 1 or number % 3 == 1
        parameter.grad = rng.normal(parameter.shape, number, f"gradient {i}")
        parameter.grad = parameter.grad if has_gradient else None
    optimizer.step()


@pytest.fixture
def pair():
    """torch's optimizer and gs3d's, with parameters of their own that are equal."""
    theirs, ours = parameters(), parameters()
    groups = [{"params": theirs[:1]}, {"params": theirs[1:]}]
    expected = torch.optim.Adam(groups, lr=1e-2, betas=BETAS, eps=1e-15)
    return (expected, theirs), (Adam([ours[:1], ours[1:]], 1e-2, BETAS), ours)


def test_steps_are_those_of_torch(pair):
    (expected, theirs), (optimizer, ours) = pair
    for number in range(8):
        step(expected, theirs, number)
        step(optimizer, ours, number)
        assert all(map(torch.equal, ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        assert optimizer.state[a].keys() == expected.state[b].keys()
        assert all(torch.equal(v, expected.state[b][k]) for k, v in optimizer.state[a].items())
    optimizer.zero_grad()
    assert all(p.grad is None for p in ours)


def test_moments_continue_it(pair):
    _, (optimizer, ours) = pair
    for number in range(3):
        step(optimizer, ours, number)
    again = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    restored = Adam([again[:1], again[1:]], 1e-2, BETAS)
    named = {str(i): (p, optimizer) for i, p in enumerate(ours)}
    put_moments({str(i): (p, restored) for i, p in enumerate(again)}, moments_of(named))
    step(optimizer, ours, 4)
    step(restored, again, 4)
    assert all(map(torch.equal, again, ours))
