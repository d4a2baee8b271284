"""Where workers run: the cores and GPUs of this machine, shared out."""

import os
from dataclasses import dataclass

import torch

from gs3d.core.runtime.threads import cores

CORES_EACH = 2
"""Cores of a worker without a GPU. The networks and the rasterizer use two well."""


@dataclass(frozen=True)
class Place:
    """Where a worker runs."""

    number: int
    cores: tuple[int, ...]
    gpu: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its process. CUDA shows it its own card alone, as number 0."""
        return {} if self.gpu is None else {"CUDA_VISIBLE_DEVICES": _visible()[self.gpu]}


def places(workers: int | None, device: str | None) -> list[Place]:
    """The workers of this machine: one a GPU by default, or one for two cores without one."""
    on = torch.device(device or "cpu")
    gpus = [on.index] if on.index is not None else list(range(torch.cuda.device_count()))
    if on.type != "cuda":
        gpus = []
    own = cores()
    count = len(gpus) or (max(len(own) // CORES_EACH, 1) if on.type == "cpu" else 1)
    count = workers or count
    size = max(len(own) // count, 1)
    return [
        Place(i, tuple(own[i * size : (i + 1) * size]), gpus[i % len(gpus)] if gpus else None)
        for i in range(count)
    ]


def _visible() -> list[str]:
    """Names of the GPUs that this process sees, as CUDA_VISIBLE_DEVICES has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(i) for i in range(torch.cuda.device_count())]
