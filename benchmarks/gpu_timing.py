"""Timing of Stable Diffusion runs on a GPU with random weights; shared by gpu.py and scaling.py."""

import dataclasses
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from gs3d.core.schedules import Steps
from gs3d.distill.settings.config import load_config
from gs3d.distill.settings.stages import RunConfig, StageConfig
from gs3d.distill.state import Task
from gs3d.distill.step import iterate
from gs3d.priors.base import Condition
from gs3d.priors.latent import LatentPrior, vae_dtype
from gs3d.priors.network import Network
from gs3d.priors.scalings import Epsilon, VpTable
from gs3d.runs.loop import start

AUTOENCODER = "autoencoder and back"
"""Row name of the autoencoder's encoding with its backward pass."""


@dataclass(frozen=True)
class RandomPrompts:
    """Prompts with random embeddings: the text does not affect the time."""

    text: torch.Tensor

    def at(self, cameras) -> Condition:
        batch = self.text.expand(len(cameras), -1, -1)
        return Condition(batch, -batch)


def random_prior(tiny: bool, device: str) -> LatentPrior:
    """Return an untrained U-Net and autoencoder of Stable Diffusion 2.1-base.

    The architecture follows the published configurations; `tiny` is a small model for tests.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel

    if tiny:
        unet_config = dict(
            sample_size=8,
            block_out_channels=(16, 32),
            attention_head_dim=2,
            norm_num_groups=8,
            cross_attention_dim=16,
        )
        unet_config |= dict(
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )
        vae_config = dict(block_out_channels=(8, 16), norm_num_groups=4)
    else:
        unet_config = dict(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
        )
        unet_config |= dict(cross_attention_dim=1024, use_linear_projection=True)
        vae_config = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2)
    levels = len(vae_config["block_out_channels"])
    vae_config |= dict(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
    )
    on = torch.device(device)
    with on:
        unet, vae = UNet2DConditionModel(**unet_config), AutoencoderKL(**vae_config)
    unet = (
        unet.to(torch.float16 if on.type == "cuda" else torch.float32).requires_grad_(False).eval()
    )
    vae = vae.to(vae_dtype(on)).requires_grad_(False).eval()
    side = unet.config.sample_size
    return LatentPrior(
        source=None,
        network=Network(unet, Epsilon(VpTable.scaled_linear())),
        text=None,
        vae=vae,
        image_size=side * 2 ** (levels - 1),
        latent_shape=(4, side, side),
        latent_scale=0.18215,
        latent_shift=0.0,
    )


class Clock:
    """Measures a call: median time in ms with synchronization, and peak memory on CUDA."""

    def __init__(self, device: str, runs: int):
        self.cuda, self.runs = device == "cuda", runs

    def __call__(self, call) -> dict:
        """Time `call` over `runs` runs, after three runs that are not counted."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        times = []
        for _ in range(self.runs + 3):
            self._wait()
            start = time.perf_counter()
            call()
            self._wait()
            times.append(1e3 * (time.perf_counter() - start))
        row = {"ms": round(statistics.median(times[3:]), 2), "fastest_ms": round(min(times[3:]), 2)}
        return row | (
            {"peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2)} if self.cuda else {}
        )

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


def networks(prior: LatentPrior, batch: int, size: int) -> dict[str, Callable]:
    """Return the network calls of an iteration; guidance doubles the batch of the denoiser."""
    device = prior.device
    z, sigma = (
        torch.randn(2 * batch, *prior.latent_shape, device=device),
        torch.ones(2 * batch, device=device),
    )
    text = torch.randn(
        2 * batch, 77, prior.network.backbone.config.cross_attention_dim, device=device
    )
    rgb = torch.rand(batch, size, size, 3, device=device, requires_grad=True)
    return {
        "network": lambda: prior.denoise(z, sigma, text),
        AUTOENCODER: lambda: torch.autograd.grad(prior.encode(rgb).square().mean(), rgb),
    }


def flops(call: Callable) -> int:
    """Count the floating-point operations of the matrix products and convolutions of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def with_tflops(row: dict, count: int) -> dict:
    """Add the rate in 10¹² operations per second to a row of `Clock`, for `count` operations."""
    return row | {"tflops": round(count / row["ms"] / 1e9, 1)}


def matmul(device: str, side: int, clock: Clock) -> dict:
    """Time a large matrix product in half precision: the peak rate of the device, as a scale."""
    dtype = torch.float16 if device == "cuda" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return with_tflops(clock(lambda: a @ b), 2 * side**3)


def time_iteration(
    prior: LatentPrior, batch: int, count: int, preset: str, clock: Clock, size: int | None = None
) -> dict:
    """Time one iteration of a preset with `count` splats and no densification.

    The resolution is the last one of the preset, or `size`.
    """
    (stage,) = load_config(preset).stages
    densify = dataclasses.replace(stage.densify, start=2.0, stop=3.0, resets=())
    stage = dataclasses.replace(
        stage,
        batch=batch,
        densify=densify,
        gaussians=dataclasses.replace(stage.gaussians, count=count),
    )
    return time_stage(prior, stage if size is None else at_resolution(stage, size), clock)


def at_resolution(stage: StageConfig, size: int) -> StageConfig:
    """Return the stage with renders of one size."""
    cameras = dataclasses.replace(stage.cameras, resolution_px=Steps((0.0,), (size,)))
    return dataclasses.replace(stage, cameras=cameras)


def time_stage(prior: LatentPrior, stage: StageConfig, clock: Clock) -> dict:
    """Time one iteration of a stage, near its end, and count the waits of the program for the GPU.

    Its representation is that of the first iteration of a run.
    """
    config, device = RunConfig((stage,)), str(prior.device)
    state = start(config, 0, device)
    prompts = RandomPrompts(
        torch.randn(1, 77, prior.network.backbone.config.cross_attention_dim, device=device)
    )
    task = Task(prior, prompts, config, seed=0, normal_prompts=prompts)
    skipped = []

    def call() -> None:
        skipped.append(iterate(state, task, 0.9, 0.001).skipped)

    row = clock(call)
    return row | {"skipped": sum(skipped)} | waits(call, clock.cuda)


def waits(call: Callable, cuda: bool) -> dict:
    """Count the waits for the GPU in a call, and where they are; empty without CUDA."""
    if not cuda:
        return {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = [w for w in caught if "synchronizing CUDA" in str(w.message)]
    places = Counter(f"{Path(w.filename).name}:{w.lineno}" for w in found)
    return {"waits": len(found), "waits_at": dict(places)}
