"""How an iteration of CDS grows with the batch, the splats and the resolution: milliseconds, memory, slopes and a plot.

    python benchmarks/scaling.py                       needs CUDA; prints a table, writes scaling.json, .md and .png into --out
    python benchmarks/scaling.py --tiny --device cpu   the same code on a small model, to see that it runs

One of the three changes at a time, the others stay as in `splats-15min`: batch 4, 200,000 splats, 512². Random weights, as in gpu.py. The
slope is that of the logarithms between the last two points: 1 where twice as much takes twice as long, 0 where it costs nothing.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from gpu import Clock, random_prior, whole
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from record import append, machine

from gs3d.priors.latent import LatentPrior
from gs3d.runs.loop import is_memory

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
    device: str = "cuda"
    tiny: bool = False
    """A model of a few thousand weights and small pictures."""
    runs: int = 5
    record: bool = False


def measured(prior: LatentPrior, usual: dict[str, int], clock: Clock) -> dict:
    """A row of the clock; empty where the memory is not enough."""
    try:
        return whole(prior, usual["batch"], usual["splats"], PRESET, clock, usual["resolution"])
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        return {}
    finally:
        if clock.cuda:
            torch.cuda.empty_cache()


def slope(values: tuple[int, ...], rows: list[dict]) -> float | None:
    """Of log ms over log value, between the last two that were measured."""
    known = [(value, row["ms"]) for value, row in zip(values, rows, strict=True) if row]
    if len(known) < 2:
        return None
    (a, first), (b, last) = known[-2:]
    return round(math.log(last / first) / math.log(b / a), 2)


def plotted(axes: dict[str, tuple[int, ...]], rows: dict[str, list[dict]], path: Path) -> None:
    figure = Figure(figsize=(11, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, (name, values) in zip(figure.subplots(1, len(axes)), axes.items(), strict=True):
        known = [(value, row["ms"]) for value, row in zip(values, rows[name], strict=True) if row]
        panel.loglog(*zip(*known, strict=True), marker="o", color="#1f5fae")
        panel.set_xticks(values, [f"{value:,}" for value in values], fontsize=7)
        panel.set(
            title=f"an iteration by {name}",
            ylabel="ms",
            ylim=(0.5 * min(ms for _, ms in known), 2 * max(ms for _, ms in known)),
        )
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    figure.savefig(path)


def main(args: Args) -> None:
    shared, clock, prior = (
        machine(),
        Clock(args.device, args.runs),
        random_prior(args.tiny, args.device),
    )
    axes = TINY if args.tiny else FULL
    usual = (
        {"batch": 4, "splats": 500, "resolution": 32}
        if args.tiny
        else {"batch": 4, "splats": 200_000, "resolution": 512}
    )
    rows = {
        name: [measured(prior, usual | {name: value}, clock) for value in values]
        for name, values in axes.items()
    }
    lines = ["| | | ms | peak GB |", "|---|---|---|---|"]
    for name, values in axes.items():
        for value, row in zip(values, rows[name], strict=True):
            lines.append(
                f"| {name} | {value:,} | {row.get('ms', 'out of memory')} | {row.get('peak_gb', '')} |"
            )
        lines.append(f"| {name} | slope | {slope(values, rows[name])} | |")
    args.out.mkdir(parents=True, exist_ok=True)
    made = {
        name: dict(zip(map(str, values), rows[name], strict=True)) for name, values in axes.items()
    }
    (args.out / "scaling.json").write_text(json.dumps(shared | {"rows": made}, indent=2) + "\n")
    (args.out / "scaling.md").write_text("\n".join(lines) + "\n")
    plotted(axes, rows, args.out / "scaling.png")
    print("\n".join(lines))
    if args.record:
        append("scaling", {"rows": made}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args))
