"""The card that is none refuses what a card refuses, and takes what one takes."""

import numpy as np
import pytest
import torch

from tests.fake_cuda import CARD


def test_the_card_refuses_two_devices(card):
    here, there, number = torch.ones(3, 4), torch.ones(3, 4, device="cuda"), torch.tensor(2.0)
    for mix in (
        lambda: here + there,
        lambda: torch.cat([here, there]),
        lambda: there @ here.T,
        lambda: torch.stack([there.sum(), number]),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            mix()
    for write in (lambda: here[there[0] > 0], lambda: there.__setitem__(there > 0, torch.ones(12))):
        with pytest.raises(RuntimeError, match="same device"):
            write()
    with pytest.raises(RuntimeError, match="same device"):
        torch.nn.Linear(4, 2).to(CARD)(here)
    for draw in (
        lambda g: torch.randn(2, device="cuda", generator=g),
        lambda g: there.normal_(generator=g),
    ):
        with pytest.raises(RuntimeError, match="generator"):
            draw(torch.Generator())
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(there)


def test_the_card_takes_what_a_card_takes(card):
    here, there = torch.ones(3, 4), torch.ones(3, 4, device="cuda")
    assert there.device == CARD and there.is_cuda and not here.is_cuda
    for made in (
        there * 2,
        there + here.sum(),
        there.new_zeros(2),
        torch.zeros_like(there),
        torch.stack([there, here.to(there)]),
        there.double(),
    ):
        assert made.is_cuda
    assert there[torch.tensor([0, 2])].is_cuda and there.to("cuda") is there and here.cpu() is here
    assert (
        not there.cpu().is_cuda
        and not here.to(torch.float64).is_cuda
        and there.cpu().numpy().sum() == 12
    )
    there.copy_(here)
    there[0], here[1] = here[0], there[1]
    assert not there.is_cpu and there.get_device() == 0 and (there * torch.tensor(2.0)).is_cuda
    here.to("cuda").zero_()
    assert here.sum() == 12  # it was copied


def test_a_network_learns_on_the_card(card):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(36, 1)
    ).to(device="cuda", memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    pictures = torch.rand(4, 3, 5, 5).to("cuda").requires_grad_()
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = network(pictures).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert pictures.grad.is_cuda and all(p.is_cuda and p.grad.is_cuda for p in network.parameters())
