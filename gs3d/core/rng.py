# pyright: reportUnknownMemberType=false
# torch has no complete types for its own state of random numbers.
"""Random numbers as functions of (seed, purpose, step), so checkpoints store no generator state."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from gs3d.core.runtime.exclusive import exclusive


def derive_seed(seed: int, *keys: str | int) -> int:
    """Derive a 63-bit seed from `seed` and every key.

    The result is the same on every machine and Python version.
    """
    text = "/".join(str(k) for k in (seed, *keys))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *keys: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """Create a generator for one purpose, e.g. `generator(seed, "cameras", step)`.

    A distillation run draws on the CPU and moves the numbers, so that a run on a GPU uses the same
    cameras and times as a run on the CPU. Pretraining draws on the device of its images.
    """
    return torch.Generator(device).manual_seed(derive_seed(seed, *keys))


def normal(shape: tuple[int, ...], seed: int, *keys: str | int) -> Tensor:
    """Standard normal noise of `shape`, float32 on the CPU, determined by (seed, keys).

    `normal(shape, seed, "fixed noise")` is the fixed noise of a CDS run, shared by all views and
    steps (Consistent3D, Sec. 3.3).
    """
    return torch.randn(shape, generator=generator(seed, *keys))


@contextmanager
def seeded(seed: int, *keys: str | int) -> Generator[None, None, None]:
    """Seed torch's own random numbers, for a library that takes no generator.

    Afterwards the state of before is back. One thread at a time is within.
    """
    uses_gpu = torch.cuda.is_initialized()
    gpus = list(range(torch.cuda.device_count())) if uses_gpu else []
    with exclusive(), torch.random.fork_rng(gpus):
        value = derive_seed(seed, *keys)
        if uses_gpu:
            torch.manual_seed(value)
        else:
            # torch.manual_seed would also seed GPUs that the program uses later.
            torch.default_generator.manual_seed(value)
        yield
