"""Helpers of the tests of the viewer."""

import http.client

import torch

from gs3d.core.types import Splats


def sphere_splats(count: int = 50, spread: float = 0.6, center=(0.0, 0.0, 0.0)) -> Splats:
    """Random splats on a sphere of radius `spread`, of SH degree 1."""
    gen = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=gen), dim=1)
    means = spread * directions + torch.tensor(center)
    quats = torch.nn.functional.normalize(torch.randn(count, 4, generator=gen), dim=1)
    scales = spread * (0.01 + 0.1 * torch.rand(count, 3, generator=gen))
    return Splats(
        means,
        quats,
        scales,
        0.1 + 0.8 * torch.rand(count, generator=gen),
        torch.randn(count, 4, 3, generator=gen),
    )


def status(port: int, path: str, **headers: str) -> int:
    """HTTP status of a GET request to this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    return connection.getresponse().status
