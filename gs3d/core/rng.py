"""Counter-based randomness: every draw is a function of (seed, purpose, step), so there is no generator to save."""

import hashlib

import torch
from torch import Tensor


def derive_seed(seed: int, *keys: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every key, the same on every machine and Python version."""
    text = "/".join(str(k) for k in (seed, *keys))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *keys: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator for one purpose, e.g. `generator(seed, "cameras", step)`.

    The draws of a run are made on the CPU and moved, so that a run on a GPU sees the same cameras and times as a run without one; those of
    a training on pictures that are on a GPU are made there.
    """
    return torch.Generator(device).manual_seed(derive_seed(seed, *keys))


def normal(shape: tuple[int, ...], seed: int, *keys: str | int) -> Tensor:
    """Standard normal noise of `shape`, float32, a function of (seed, keys) alone.

    `normal(shape, seed, "fixed noise")` is the one noise of a CDS run (Consistent3D, Sec. 3.3), shared by every view and step.
    """
    return torch.randn(shape, generator=generator(seed, *keys))
