"""Measure how an iteration of CDS scales with batch size, number of splats and resolution.

    python benchmarks/scaling.py                       needs CUDA
    python benchmarks/scaling.py --tiny --device cpu   the same code on a small model, as a test

Prints a table of time, memory and slopes, and writes scaling.json, scaling.md and scaling.png to
--out. One quantity changes at a time. The others stay as in `splats-15min`: batch 4, 200,000
splats, 512². The weights are random, as in gpu.py. The slope is that of log time over log size
between the last two points: 1 means proportional to the size, 0 means constant.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from gpu_timing import Clock, random_prior, time_iteration
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from record import append, machine

from gs3d.distill.memory.shortage import is_memory
from gs3d.priors.latent import LatentPrior

FULL = {
    "batch": (1, 2, 4, 8, 16, 32),
    "splats": (10_000, 30_000, 100_000, 300_000, 1_000_000),
    "resolution": (64, 128, 256, 512, 1024),
}
TINY = {"batch": (1, 2, 4), "splats": (100, 1000), "resolution": (16, 32)}
PRESET = "splats-15min"


@dataclass(frozen=True)
class Args:
    out: Path = Path("outputs/gpu")
    """Output directory."""
    device: str = "cuda"
    """Device to measure."""
    tiny: bool = False
    """Use a small model and small images."""
    runs: int = 5
    """Timed runs per row."""
    record: bool = False
    """Append the result to results.jsonl."""


def measured(prior: LatentPrior, sizes: dict[str, int], clock: Clock) -> dict:
    """Return the row of `Clock` for one iteration; empty if it runs out of memory."""
    try:
        return time_iteration(
            prior, sizes["batch"], sizes["splats"], PRESET, clock, sizes["resolution"]
        )
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        return {}
    finally:
        if clock.cuda:
            torch.cuda.empty_cache()


def slope(values: tuple[int, ...], rows: list[dict]) -> float | None:
    """Return the slope of log ms over log value between the last two measured values."""
    known = [(value, row["ms"]) for value, row in zip(values, rows, strict=True) if row]
    if len(known) < 2:
        return None
    (a, first), (b, last) = known[-2:]
    return round(math.log(last / first) / math.log(b / a), 2)


def plot(axes: dict[str, tuple[int, ...]], rows: dict[str, list[dict]], path: Path) -> None:
    """Write log-log plots of the time over each quantity."""
    figure = Figure(figsize=(11, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (name, values) in zip(figure.subplots(1, len(axes)), axes.items(), strict=True):
        known = [(value, row["ms"]) for value, row in zip(values, rows[name], strict=True) if row]
        panel.loglog(*zip(*known, strict=True), marker="o", color="#1f5fae")
        panel.set_xticks(values, [f"{value:,}" for value in values], fontsize=7)
        panel.set(
            title=f"iteration time by {name}",
            ylabel="ms",
            ylim=(0.5 * min(ms for _, ms in known), 2 * max(ms for _, ms in known)),
        )
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    figure.savefig(path)


def main(args: Args) -> None:
    shared, clock = machine(), Clock(args.device, args.runs)
    prior = random_prior(args.tiny, args.device)
    axes = TINY if args.tiny else FULL
    sizes = (
        {"batch": 4, "splats": 500, "resolution": 32}
        if args.tiny
        else {"batch": 4, "splats": 200_000, "resolution": 512}
    )
    rows = {
        name: [measured(prior, sizes | {name: value}, clock) for value in values]
        for name, values in axes.items()
    }
    lines = ["| | | ms | peak GB |", "|---|---|---|---|"]
    for name, values in axes.items():
        for value, row in zip(values, rows[name], strict=True):
            ms, peak_gb = row.get("ms", "out of memory"), row.get("peak_gb", "")
            lines.append(f"| {name} | {value:,} | {ms} | {peak_gb} |")
        lines.append(f"| {name} | slope | {slope(values, rows[name])} | |")
    args.out.mkdir(parents=True, exist_ok=True)
    by_value = {
        name: dict(zip(map(str, values), rows[name], strict=True)) for name, values in axes.items()
    }
    (args.out / "scaling.json").write_text(json.dumps(shared | {"rows": by_value}, indent=2) + "\n")
    (args.out / "scaling.md").write_text("\n".join(lines) + "\n")
    plot(axes, rows, args.out / "scaling.png")
    print("\n".join(lines))
    if args.record:
        append("scaling", {"rows": by_value}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
