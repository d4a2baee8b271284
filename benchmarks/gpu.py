"""Measure the Stable Diffusion run on a GPU: time and memory of an iteration and its parts.

    python benchmarks/gpu.py                       needs CUDA
    python benchmarks/gpu.py --compile             only the rows with channels last and compiled
    python benchmarks/gpu.py --tiny --device cpu   the same code on a small model, as a test

Prints a table and writes gpu.json and gpu.md (gpu-compiled.* with --compile) to --out, after each
group of rows, so that a measurement that is stopped keeps what it has. The weights are random, with
the architecture of Stable Diffusion 2.1-base. They cost as much time as trained ones, so the
benchmark works without access to a model hub.
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
    at_resolution,
    flops,
    matmul,
    networks,
    random_prior,
    time_iteration,
    time_stage,
    with_tflops,
)
from raster import scene
from record import append, machine

from gs3d.core.cameras import ring
from gs3d.core.types import Splats
from gs3d.distill.memory.shortage import is_memory, release
from gs3d.distill.settings.config import load_config
from gs3d.priors.base import Condition, guided
from gs3d.priors.latent import BackwardEncoder, LatentPrior
from gs3d.priors.network import compile_networks
from gs3d.raster import rasterize

COLUMNS = {
    "ms": "ms",
    "fastest_ms": "fastest",
    "peak_gb": "peak GB",
    "tflops": "TFLOP/s",
    "over_parts": "× its parts",
    "waits": "waits",
    "skipped": "skipped",
}
"""Entry of a row -> title of its column."""
PRESET = "splats-15min"
BACKWARD, REPLACED = ", tiny backward", ", tiny autoencoder"
"""In the names of rows: an untrained autoencoder like taesd, as `vae_backward` and as `vae`."""
STAGES = ("nerf", "dmtet")
"""The stages of `two-stage` that are measured, the first ones."""
SMALL = ("nerf.samples=8", "nerf.occupancy_resolution=8", "nerf.field.grid.log2_size=10")
"""Settings of the first for a test. The others have the same field."""
SURFACES = ("stages.2.dmtet.resolution=12", "stages.3.dmtet.resolution=12")
"""Settings of the others for a test."""


@dataclass(frozen=True)
class Args:
    out: Path = Path("outputs/gpu")
    """Output directory."""
    device: str = "cuda"
    """Device to measure."""
    tiny: bool = False
    """Use a small model and small images."""
    compile: bool = False
    """Measure networks with channels last and then compiled, which takes minutes, and no more."""
    batches: tuple[int, ...] = (4, 8)
    """Batch sizes. Variants are measured with all of them, the parts with the first."""
    splats: int = 200_000
    """Number of splats."""
    runs: int = 8
    """Timed runs per row."""
    record: bool = False
    """Append the result to results.jsonl."""

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return 32 if self.tiny else 512

    @property
    def count(self) -> int:
        return 500 if self.tiny else self.splats


@dataclass
class Table:
    """The rows so far; each group is written as soon as it is measured."""

    args: Args
    shared: dict
    rows: dict[str, dict] = dataclasses.field(default_factory=dict)

    def add(self, name: str, measure: Callable[[], dict]) -> dict:
        """Add the row that `measure` returns, or a row that says that memory ran out."""
        try:
            row = measure()
        except (RuntimeError, MemoryError) as error:
            if not is_memory(error):
                raise
            row = {"ms": "out of memory"}
        release()
        self.rows[name] = row
        self.write()
        return row

    def markdown(self) -> str:
        lines = ["| | " + " | ".join(COLUMNS.values()) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
        lines += [
            "| " + " | ".join([name, *(str(row.get(c, "")) for c in COLUMNS)]) + " |"
            for name, row in self.rows.items()
        ]
        return "\n".join(lines)

    def write(self) -> None:
        out = self.args.out / ("gpu-compiled" if self.args.compile else "gpu")
        self.args.out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.shared | {"rows": self.rows}, indent=2)
        out.with_suffix(".json").write_text(text + "\n")
        out.with_suffix(".md").write_text(self.markdown() + "\n")


def parts(prior: LatentPrior, args: Args) -> dict[str, Callable[[], object]]:
    """Return the calls of guidance and of the renderer with the first batch size."""
    device, batch = prior.device, args.batches[0]
    made = scene(args.count)
    leaves = [getattr(made, f.name).to(device).requires_grad_() for f in dataclasses.fields(Splats)]
    splats, cameras = Splats(*leaves), ring(batch, args.size).to(device)
    background = torch.ones(3, device=device)
    z = torch.randn(batch, *prior.latent_shape, device=device)
    width = prior.network.backbone.config.cross_attention_dim
    condition = Condition(*torch.randn(2, batch, 77, width, device=device))

    def render() -> None:
        torch.autograd.grad(rasterize(splats, cameras, background).rgb.square().mean(), leaves)

    return {
        "guided": lambda: guided(prior, z, 1.0, condition, 7.5),
        "render and back": render,
    }


def variants(prior: LatentPrior, args: Args) -> dict[str, LatentPrior]:
    """Return the prior with its own autoencoder, and with an untrained tiny one in two roles."""
    from diffusers import AutoencoderTiny

    blocks = {f"{side}_block_out_channels": (8, 8) for side in ("encoder", "decoder")} | {
        "num_encoder_blocks": (1, 1)
    }
    tiny = AutoencoderTiny(**(blocks | {"num_decoder_blocks": (1, 1)} if args.tiny else {}))
    tiny = tiny.to(device=prior.device, dtype=prior.vae.dtype).requires_grad_(False).eval()
    return {
        "": prior,
        BACKWARD: dataclasses.replace(prior, backward=BackwardEncoder(tiny, 1.0)),
        REPLACED: dataclasses.replace(prior, vae=tiny, latent_scale=1.0),
    }


def time_iterations(table: Table, prior: LatentPrior, clock: Clock) -> None:
    """Measure the parts of an iteration, then iterations, the most important rows first."""
    args, batch = table.args, table.args.batches[0]
    calls = networks(prior, batch, args.size)
    for name, call in calls.items():
        table.add(
            f"{name}, batch {batch}",
            lambda call=call: with_tflops(clock(call), flops(call)),
        )
    for name, call in parts(prior, args).items():
        table.add(f"{name}, batch {batch}", lambda call=call: clock(call))
    for size in args.batches:
        for change, one in variants(prior, args).items():
            if change:
                call = networks(one, size, args.size)[AUTOENCODER]
                table.add(
                    f"{AUTOENCODER}{change}, batch {size}",
                    lambda call=call: with_tflops(clock(call), flops(call)),
                )
            table.add(
                f"iteration, {PRESET}{change}, batch {size}",
                lambda one=one, size=size: time_iteration(one, size, args.count, PRESET, clock),
            )
    rows = table.rows
    # CDS evaluates guidance at two points.
    names = ("guided", "guided", AUTOENCODER, "render and back")
    times = [rows[f"{name}, batch {batch}"]["ms"] for name in names]
    iteration = rows[f"iteration, {PRESET}, batch {batch}"]
    if all(isinstance(ms, float) for ms in (*times, iteration["ms"])):
        iteration["over_parts"] = round(iteration["ms"] / sum(times), 3)
    time_stages(table, prior, clock)
    table.add(
        f"iteration, preview, batch {batch}",
        lambda: time_iteration(prior, batch, args.count, "preview", clock),
    )
    side = 256 if args.tiny else 8192
    table.add(f"matrix product, {side}³", lambda: matmul(args.device, side, clock))


def time_stages(table: Table, prior: LatentPrior, clock: Clock) -> None:
    """Measure the field and the surface of `two-stage`, at the sizes of the preset."""
    small = [*(f"stages.1.{change}" for change in SMALL), *SURFACES]
    stages = load_config("two-stage", None, small if table.args.tiny else []).stages
    for kind, stage in zip(STAGES, stages, strict=False):
        if table.args.tiny:
            stage = at_resolution(dataclasses.replace(stage, batch=4), 16)
        name = f"iteration, two-stage: {kind}, batch {stage.batch}"
        table.add(name, lambda stage=stage: time_stage(prior, stage, clock))


def time_compiled(table: Table, prior: LatentPrior, clock: Clock) -> None:
    """Measure channels last alone, then compiled, which sets it too (`compile_networks`).

    Both change the networks permanently.
    """
    args, batch = table.args, table.args.batches[0]
    both = {k: v for k, v in variants(prior, args).items() if k != REPLACED}
    calls = {
        name: networks(one, batch, args.size)
        for name, one in (("", prior), (BACKWARD, both[BACKWARD]))
    }
    # Counted before any change, because operations of compiled networks cannot be counted.
    counts = {(c, name): flops(call) for c in calls for name, call in calls[c].items()}
    tiny = both[BACKWARD].backward.vae

    def measure(change: str) -> None:
        for variant, one in both.items():
            for name, call in calls[variant].items():
                if variant and name != AUTOENCODER:
                    continue
                table.add(
                    f"{name}{variant}{change}, batch {batch}",
                    lambda call=call, key=(variant, name): with_tflops(clock(call), counts[key]),
                )
            table.add(
                f"iteration, {PRESET}{variant}{change}, batch {batch}",
                lambda one=one: time_iteration(one, batch, args.count, PRESET, clock),
            )

    for part in (prior.network.backbone, prior.vae, tiny):
        part.to(memory_format=torch.channels_last)
    measure(", channels last")
    compile_networks(prior.network.backbone, prior.vae, tiny)
    measure(", channels last, compiled")


def main(args: Args) -> None:
    table, clock = Table(args, machine()), Clock(args.device, args.runs)
    prior = random_prior(args.tiny, args.device)
    (time_compiled if args.compile else time_iterations)(table, prior, clock)
    table.write()
    print(table.shared)
    print(table.markdown())
    if args.record:
        append("gpu", {"rows": table.rows}, table.shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
