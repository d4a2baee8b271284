"""Measure the Stable Diffusion run on a GPU: time and memory of an iteration and its parts.

    python benchmarks/gpu.py                       needs CUDA
    python benchmarks/gpu.py --tiny --device cpu   the same code on a small model, as a test

Prints a table and writes gpu.json and gpu.md to --out. The weights are random, with the
architecture of Stable Diffusion 2.1-base. They cost as much time as trained ones, so the benchmark
works without access to a model hub.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from gpu_timing import (
    AUTOENCODER,
    Clock,
    flops,
    matmul,
    networks,
    random_prior,
    time_iteration,
    with_tflops,
)
from raster import scene
from record import append, machine

from gs3d.core.cameras import ring
from gs3d.core.types import Splats
from gs3d.priors.base import Condition, guided
from gs3d.priors.latent import LatentPrior
from gs3d.priors.network import compile_networks
from gs3d.raster import rasterize


@dataclass(frozen=True)
class Args:
    out: Path = Path("outputs/gpu")
    """Output directory."""
    device: str = "cuda"
    """Device to measure."""
    tiny: bool = False
    """Use a small model and small images."""
    compile: bool = False
    """Also measure compiled networks; this takes minutes."""
    batches: tuple[int, ...] = (4, 12)
    """Batch sizes."""
    splats: int = 200_000
    """Number of splats."""
    runs: int = 20
    """Timed runs per row."""
    record: bool = False
    """Append the result to results.jsonl."""


def time_parts(
    prior: LatentPrior, batch: int, splats: Splats, size: int, clock: Clock
) -> dict[str, dict]:
    """Time the parts of an iteration separately."""
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

    rows = {name: with_tflops(clock(call), flops(call)) for name, call in calls.items()}
    condition = Condition(text, negative)
    return rows | {
        "guided": clock(lambda: guided(prior, z, 1.0, condition, 7.5)),
        "render and back": clock(render),
    }


def with_small_autoencoder(prior: LatentPrior, tiny: bool) -> LatentPrior:
    """Replace the autoencoder by an untrained one like taesd (`vae: taesd` in a config)."""
    from diffusers import AutoencoderTiny

    blocks = {f"{side}_block_out_channels": (8, 8) for side in ("encoder", "decoder")} | {
        "num_encoder_blocks": (1, 1)
    }
    vae = AutoencoderTiny(**(blocks | {"num_decoder_blocks": (1, 1)} if tiny else {}))
    vae = vae.to(device=prior.device, dtype=prior.vae.dtype).requires_grad_(False).eval()
    return dataclasses.replace(prior, vae=vae, latent_scale=1.0)


def time_variants(
    prior: LatentPrior, args: Args, size: int, count: int, clock: Clock
) -> dict[str, dict]:
    """Time networks and iterations with a tiny autoencoder, channels last, and compiled.

    Channels last and compilation are measured with either autoencoder. Both change the networks
    permanently.
    """
    small = with_small_autoencoder(prior, args.tiny)

    def counted(one: LatentPrior, names: tuple[str, ...]) -> list[tuple[str, Callable, int]]:
        by_batch = [(b, networks(one, b, size)) for b in args.batches]
        return [
            (f"{name}{{}}, batch {b}", calls[name], flops(calls[name]))
            for b, calls in by_batch
            for name in names
        ]

    # Counted before any change, because operations of compiled networks cannot be counted.
    calls = {
        "": counted(prior, ("network", AUTOENCODER)),
        ", tiny autoencoder": counted(small, (AUTOENCODER,)),
    }

    def timed(autoencoder: str, change: str = "") -> dict[str, dict]:
        one = small if autoencoder else prior
        rows = {
            name.format(autoencoder + change): with_tflops(clock(call), operations)
            for name, call, operations in calls[autoencoder]
        }
        return rows | {
            f"iteration, splats-15min{autoencoder + change}, batch {b}": time_iteration(
                one, b, count, "splats-15min", clock
            )
            for b in args.batches
        }

    rows = timed(", tiny autoencoder")
    for part in (prior.network.backbone, prior.vae, small.vae):
        part.to(memory_format=torch.channels_last)
    for autoencoder in calls:
        rows |= timed(autoencoder, ", channels last")
    if args.compile:
        for one in (prior, small):
            compile_networks(one.network.backbone, one.vae)
        for autoencoder in calls:
            rows |= timed(autoencoder, ", channels last, compiled")
    return rows


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
        parts = time_parts(prior, batch, splats, size, clock)
        rows |= {f"{name}, batch {batch}": row for name, row in parts.items()}
        # CDS evaluates guidance at two points. "preview" does the same at half the width, so only
        # the full preset is compared with its parts.
        sum_ms = (
            2 * parts["guided"]["ms"] + parts[AUTOENCODER]["ms"] + parts["render and back"]["ms"]
        )
        for preset in ("preview", "splats-15min"):
            rows[f"iteration, {preset}, batch {batch}"] = time_iteration(
                prior, batch, count, preset, clock
            )
        last = rows[f"iteration, splats-15min, batch {batch}"]
        last["over_parts"] = round(last["ms"] / sum_ms, 3)
    rows |= time_variants(prior, args, size, count, clock)
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
    main(tyro.cli(Args, description=__doc__))
