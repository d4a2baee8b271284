"""What a GPU makes of the Stable Diffusion run: milliseconds and memory, with random weights of Stable Diffusion 2.1-base's shape.

    python benchmarks/gpu.py                       needs CUDA; prints a table, writes gpu.json and gpu.md into --out
    python benchmarks/gpu.py --tiny --device cpu   the same code on a small model, to see that it runs

Random weights cost as much time as trained ones, so speed and memory can be measured where no model hub can be reached.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from raster import scene
from record import append, machine
from torch.utils.flop_counter import FlopCounterMode

from gs3d.core.cameras import ring
from gs3d.core.schedules import Steps
from gs3d.core.types import Splats
from gs3d.distill.config import load_config
from gs3d.distill.step import Task, iterate
from gs3d.priors.base import Condition, guided
from gs3d.priors.latent import LatentPrior, vae_dtype
from gs3d.priors.network import Network, compile_networks
from gs3d.priors.scalings import Epsilon, VpTable
from gs3d.raster import rasterize
from gs3d.runs.loop import start

AUTOENCODER = "autoencoder and back"
"""Name of its rows."""


@dataclass(frozen=True)
class Args:
    out: Path = Path("outputs/gpu")
    device: str = "cuda"
    tiny: bool = False
    """A model of a few thousand weights and small pictures."""
    compile: bool = False
    """Also with the networks compiled, which takes minutes."""
    batches: tuple[int, ...] = (4, 12)
    splats: int = 200_000
    runs: int = 20
    record: bool = False


@dataclass(frozen=True)
class Fixed:
    """Prompts of random numbers: what the text says does not change how long it takes."""

    text: torch.Tensor

    def at(self, cameras) -> Condition:
        batch = self.text.expand(len(cameras), -1, -1)
        return Condition(batch, -batch)


def random_prior(tiny: bool, device: str) -> LatentPrior:
    """The U-Net and autoencoder of Stable Diffusion 2.1-base by their published configurations, untrained."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    if tiny:
        unet_shape = dict(
            sample_size=8,
            block_out_channels=(16, 32),
            attention_head_dim=2,
            norm_num_groups=8,
            cross_attention_dim=16,
        )
        unet_shape |= dict(
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        )
        vae_shape = dict(block_out_channels=(8, 16), norm_num_groups=4)
    else:
        unet_shape = dict(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=(5, 10, 20, 20),
        )
        unet_shape |= dict(cross_attention_dim=1024, use_linear_projection=True)
        vae_shape = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2)
    levels = len(vae_shape["block_out_channels"])
    vae_shape |= dict(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=4,
    )
    on = torch.device(device)
    with on:
        unet, vae = UNet2DConditionModel(**unet_shape), AutoencoderKL(**vae_shape)
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
    """Medians in ms of a call, the device waited for, and on CUDA the most memory it took."""

    def __init__(self, device: str, runs: int):
        self.cuda, self.runs = device == "cuda", runs

    def __call__(self, call) -> dict:
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


def parts(
    prior: LatentPrior, batch: int, splats: Splats, size: int, clock: Clock
) -> dict[str, dict]:
    """The bare calls that an iteration is made of, each by itself."""
    device, calls = prior.device, networks(prior, batch, size)
    z = torch.randn(batch, *prior.latent_shape, device=device)
    text, negative = torch.randn(
        2, batch, 77, prior.network.backbone.config.cross_attention_dim, device=device
    )
    cameras = ring(batch, size).to(device)
    background = torch.ones(3, device=device)
    leaves = [getattr(splats, f.name) for f in dataclasses.fields(Splats)]

    def render() -> None:
        torch.autograd.grad(rasterize(splats, cameras, background).rgb.square().mean(), leaves)

    rows = {name: rated(clock(call), flops(call)) for name, call in calls.items()}
    condition = Condition(text, negative)
    return rows | {
        "guided": clock(lambda: guided(prior, z, 1.0, condition, 7.5)),
        "render and back": clock(render),
    }


def networks(prior: LatentPrior, batch: int, size: int) -> dict[str, Callable]:
    """The calls of the two networks at one batch: guidance doubles what the first sees."""
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


def with_small_autoencoder(prior: LatentPrior, tiny: bool) -> LatentPrior:
    """The same with an untrained autoencoder of the shape of taesd (`vae: taesd` in a config)."""
    from diffusers import AutoencoderTiny

    blocks = {f"{side}_block_out_channels": (8, 8) for side in ("encoder", "decoder")} | {
        "num_encoder_blocks": (1, 1)
    }
    vae = AutoencoderTiny(**(blocks | {"num_decoder_blocks": (1, 1)} if tiny else {}))
    vae = vae.to(device=prior.device, dtype=prior.vae.dtype).requires_grad_(False).eval()
    return dataclasses.replace(prior, vae=vae, latent_scale=1.0)


def variants(
    prior: LatentPrior, args: Args, size: int, count: int, clock: Clock
) -> dict[str, dict]:
    """Calls of the networks and iterations with a tiny autoencoder, then with either laid out channels last, and then compiled as well.
    Changes them for good."""
    small = with_small_autoencoder(prior, args.tiny)

    def counted(one: LatentPrior, names: tuple[str, ...]) -> list[tuple[str, Callable, int]]:
        made = [(b, networks(one, b, size)) for b in args.batches]
        return [
            (f"{name}{{}}, batch {b}", calls[name], flops(calls[name]))
            for b, calls in made
            for name in names
        ]

    # Counted before anything is changed: what is compiled cannot be looked into.
    calls = {
        "": counted(prior, ("network", AUTOENCODER)),
        ", tiny autoencoder": counted(small, (AUTOENCODER,)),
    }

    def timed(which: str, way: str = "") -> dict[str, dict]:
        one = small if which else prior
        rows = {
            name.format(which + way): rated(clock(call), many) for name, call, many in calls[which]
        }
        return rows | {
            f"iteration, splats-15min{which + way}, batch {b}": whole(
                one, b, count, "splats-15min", clock
            )
            for b in args.batches
        }

    rows = timed(", tiny autoencoder")
    for part in (prior.network.backbone, prior.vae, small.vae):
        part.to(memory_format=torch.channels_last)
    for which in calls:
        rows |= timed(which, ", channels last")
    if args.compile:
        for one in (prior, small):
            compile_networks(one.network.backbone, one.vae)
        for which in calls:
            rows |= timed(which, ", channels last, compiled")
    return rows


def flops(call: Callable) -> int:
    """Multiplications and additions of matrices and convolutions."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def rated(row: dict, count: int) -> dict:
    """A row of the clock with its 10¹² multiplications and additions a second."""
    return row | {"tflops": round(count / row["ms"] / 1e9, 1)}


def matmul(device: str, side: int, clock: Clock) -> dict:
    """What the card does at its best in half precision, for a scale."""
    dtype = torch.float16 if device == "cuda" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return rated(clock(lambda: a @ b), 2 * side**3)


def whole(
    prior: LatentPrior, batch: int, count: int, preset: str, clock: Clock, size: int | None = None
) -> dict:
    """One iteration of a preset with `count` splats and no densification, at its last resolution or at `size`."""
    config = load_config(preset)
    (stage,) = config.stages
    densify = dataclasses.replace(stage.densify, start=2.0, stop=3.0, resets=())
    stage = dataclasses.replace(
        stage,
        batch=batch,
        densify=densify,
        gaussians=dataclasses.replace(stage.gaussians, count=count),
    )
    if size is not None:
        stage = dataclasses.replace(
            stage, cameras=dataclasses.replace(stage.cameras, resolution_px=Steps((0.0,), (size,)))
        )
    config = dataclasses.replace(config, stages=(stage,))
    device = str(prior.device)
    state = start(config, 0, device)
    prompts = Fixed(
        torch.randn(1, 77, prior.network.backbone.config.cross_attention_dim, device=device)
    )
    task = Task(prior, prompts, config, seed=0)
    skipped = []
    row = clock(lambda: skipped.append(iterate(state, task, 0.9, 0.001).skipped))
    return row | {"skipped": sum(skipped)}


def main(args: Args) -> None:
    shared, clock = machine(), Clock(args.device, args.runs)
    prior = random_prior(args.tiny, args.device)
    size, count = (32, 500) if args.tiny else (512, args.splats)
    splats = scene(count)
    splats = Splats(
        *(
            getattr(splats, f.name).to(args.device).requires_grad_()
            for f in dataclasses.fields(Splats)
        )
    )
    side = 256 if args.tiny else 8192
    rows = {f"matrix product, {side}³": matmul(args.device, side, clock)}
    for batch in args.batches:
        pieces = parts(prior, batch, splats, size, clock)
        rows |= {f"{name}, batch {batch}": row for name, row in pieces.items()}
        # Both of CDS's points are guided; "preview" is the same at half the width, so only the whole run's is set against its parts.
        bare = (
            2 * pieces["guided"]["ms"] + pieces[AUTOENCODER]["ms"] + pieces["render and back"]["ms"]
        )
        for preset in ("preview", "splats-15min"):
            rows[f"iteration, {preset}, batch {batch}"] = whole(prior, batch, count, preset, clock)
        last = rows[f"iteration, splats-15min, batch {batch}"]
        last["over_parts"] = round(last["ms"] / bare, 3)
    rows |= variants(prior, args, size, count, clock)
    columns = {
        "ms": "ms",
        "fastest_ms": "fastest",
        "peak_gb": "peak GB",
        "tflops": "TFLOP/s",
        "over_parts": "× its parts",
        "skipped": "skipped",
    }
    lines = ["| | " + " | ".join(columns.values()) + " |", "|---" * (1 + len(columns)) + "|"]
    lines += [
        "| " + " | ".join([name, *(str(row.get(c, "")) for c in columns)]) + " |"
        for name, row in rows.items()
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu.json").write_text(json.dumps(shared | {"rows": rows}, indent=2) + "\n")
    (args.out / "gpu.md").write_text("\n".join(lines) + "\n")
    print(shared)
    print("\n".join(lines))
    if args.record:
        append("gpu", {"rows": rows}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args))
