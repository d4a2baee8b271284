"""The fake CUDA device raises the errors of a real device and allows what a real device allows."""

import numpy as np
import pytest
import torch

from tests.fake_cuda import DEVICE


def test_mixed_devices_are_refused(card):
    cpu, cuda, number = torch.ones(3, 4), torch.ones(3, 4, device="cuda"), torch.tensor(2.0)
    for mix in (
        lambda: cpu + cuda,
        lambda: torch.cat([cpu, cuda]),
        lambda: cuda @ cpu.T,
        lambda: torch.stack([cuda.sum(), number]),
        lambda: cpu[cuda[0] > 0],
        lambda: cuda.__setitem__(cuda > 0, torch.ones(12)),
        lambda: torch.nn.Linear(4, 2).to(DEVICE)(cpu),
    ):
        with pytest.raises(RuntimeError, match="same device"):
            mix()


def test_cpu_generator_is_refused(card):
    cuda = torch.ones(3, 4, device="cuda")
    for draw in (
        lambda g: torch.randn(2, device="cuda", generator=g),
        lambda g: cuda.normal_(generator=g),
    ):
        with pytest.raises(RuntimeError, match="generator"):
            draw(torch.Generator())


def test_conversion_to_numpy_is_refused(card):
    with pytest.raises(TypeError, match="numpy"):
        np.asarray(torch.ones(3, 4, device="cuda"))


def test_results_and_copies_are_on_the_right_device(card):
    cpu, cuda = torch.ones(3, 4), torch.ones(3, 4, device="cuda")
    assert cuda.device == DEVICE and cuda.is_cuda and not cpu.is_cuda
    for result in (
        cuda * 2,
        cuda + cpu.sum(),
        cuda.new_zeros(2),
        torch.zeros_like(cuda),
        torch.stack([cuda, cpu.to(cuda)]),
        cuda.double(),
    ):
        assert result.is_cuda
    assert cuda[torch.tensor([0, 2])].is_cuda and cuda.to("cuda") is cuda and cpu.cpu() is cpu
    assert not cuda.cpu().is_cuda and not cpu.to(torch.float64).is_cuda
    assert cuda.cpu().numpy().sum() == 12
    cuda.copy_(cpu)
    cuda[0], cpu[1] = cpu[0], cuda[1]
    assert not cuda.is_cpu and cuda.get_device() == 0 and (cuda * torch.tensor(2.0)).is_cuda
    cpu.to("cuda").zero_()
    assert cpu.sum() == 12  # `to` made a copy


@pytest.mark.skipif(
    torch.version.cuda is not None and not torch.cuda.is_available(),
    reason="torch for CUDA asks the driver, which is not there",
)
def test_network_trains_on_fake_cuda(card):
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(36, 1)
    ).to(device="cuda", memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    images = torch.rand(4, 3, 5, 5).to("cuda").requires_grad_()
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        # Far from the initial outputs near 0, so that no draw of the weights begins at the minimum.
        loss = (network(images) - 1).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert images.grad.is_cuda and all(p.is_cuda and p.grad.is_cuda for p in network.parameters())
