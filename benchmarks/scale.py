"""Simulate a million rows on a thousand GPUs, and what breaks first with more of them.

`python benchmarks/scale.py [--gpus 100 1000 10000] [--record]` prints tables in Markdown, in half a
minute. docs/scale.md says where the numbers that it assumes are from (`scale_parts.Cluster`), and
what follows.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import tyro
from record import append
from scale_model import simulate
from scale_parts import HOUR_S, UNLIMITED, Cluster, Outcome

from gs3d.batch.rows import MOST_ROWS

simulated = lru_cache(simulate)

REQUEST_PRICE = 5e-6
"""Of a write or a list at S3, in dollars."""
TB_MONTH = 23.0
"""Of a terabyte at S3 for a month, in dollars."""


@dataclass(frozen=True)
class Args:
    rows: int = 1_000_000
    """Rows in all, in batches of as many as a list may have."""
    gpus: tuple[int, ...] = (100, 1000, 10_000)
    """Sizes of the cluster."""
    sweep: tuple[int, ...] = (1000, 5000, 20_000)
    """Sizes for what is full first, without failures."""
    lost: tuple[float, ...] = (2e-5, 0.05, 0.5)
    """How often a GPU is taken away in an hour."""
    price: float = 3.0
    """Of a GPU for an hour, in dollars."""
    seed: int = 0
    record: bool = False
    """Append the result to results.jsonl."""


def at_once(cluster: Cluster, batches: int, prefixes: int = 1) -> Cluster:
    """What one of several batches has of a cluster that they share. Each has its own process and
    queue; Ray's scheduler is shared, and so is each prefix."""
    return replace(
        cluster,
        gpus=cluster.gpus // batches,
        dispatch_s=cluster.dispatch_s * batches,
        requests_s=cluster.requests_s * prefixes / batches,
    )


def summed(total: int, cluster: Cluster, out: Outcome, price: float, batches: int) -> dict:
    """All rows by what one batch of them did, `batches` at a time."""
    rounds = math.ceil(total / cluster.rows / batches)
    gpu_s = out.paid_s / out.done
    requests = cluster.end_requests + cluster.checkpoint_requests * (
        math.ceil(cluster.row_s / cluster.checkpoint_s) - 1
    )
    useful = out.done * cluster.row_s
    return {
        "assets an hour": round(batches * out.done / (out.wall_s / HOUR_S)),
        "days": round(rounds * out.wall_s / 86400, 2),
        "GPU hours": round(total * gpu_s / HOUR_S),
        "work, %": round(100 * useful / out.paid_s, 2),
        "done again, %": round(100 * out.lost_s / out.paid_s, 3),
        "starts, %": round(100 * out.load_s / out.paid_s, 3),
        "uploads at the end, %": round(100 * out.upload_s / out.paid_s, 3),
        "rows that lost a node, %": round(100 * out.losses / cluster.rows, 2),
        "failed of a million": round(1e6 * out.failed / cluster.rows),
        "requests/s": round(batches * out.done * requests / out.wall_s),
        "their peak": batches * out.peak_requests,
        "TB sent": round(total * out.sent_bytes / out.done / 1e12, 1),
        "TB kept": round(total * cluster.end_bytes / 1e12, 1),
        "$ an asset": round(gpu_s / HOUR_S * price + requests * REQUEST_PRICE, 3),
        "$ a month of S3": round(total * cluster.end_bytes / 1e12 * TB_MONTH),
        "fullest part": fullest(out),
    }


def fullest(out: Outcome) -> str:
    """The part that is in use most."""
    name = max(out.busy, key=lambda name: out.busy[name])
    return f"{name}, {100 * out.busy[name]:.0f} %"


def table(title: str, columns: dict[str, dict[str, Any]]) -> None:
    """Print rows of the same names side by side."""
    print(f"\n{title}\n\n| | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in next(iter(columns.values())):
        values = (column[name] for column in columns.values())
        print(f"| {name} | " + " | ".join(_shown(value) for value in values) + " |")


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def sizes(args: Args, base: Cluster) -> dict[str, dict]:
    """All rows, one batch after another."""
    found = {}
    for gpus in args.gpus:
        cluster = replace(base, gpus=gpus)
        found[f"{gpus:,} GPUs"] = summed(args.rows, cluster, simulated(cluster), args.price, 1)
    return found


def failures(args: Args, base: Cluster) -> dict[str, dict]:
    """Shorter batches, as GPUs are taken away more often."""
    kept = ("done again, %", "starts, %", "rows that lost a node, %", "failed of a million")
    found = {}
    for lost in args.lost:
        cluster = replace(base, lost_a_gpu_hour=lost)
        row = summed(args.rows, cluster, simulated(cluster), args.price, 1)
        found[f"{lost:g} an hour"] = {name: row[name] for name in (*kept, "days", "$ an asset")}
    return found


def full(args: Args, base: Cluster, steps_s: float) -> dict[str, dict]:
    """How full each part is with one batch that keeps all GPUs at work, and at how many it would be
    full, by the largest size at which it is not. Rows tell of so many steps together."""
    found: dict[str, dict[str, Any]] = {}
    ends: dict[str, Any] = {}
    base = replace(base, lost_a_gpu_hour=0.0, load_s=0.0, steps_s=steps_s)
    for gpus in args.sweep:
        cluster = replace(base, gpus=gpus, rows=gpus)
        out = simulated(cluster)
        found[f"{gpus:,} GPUs"] = {n: f"{100 * used:.1f} %" for n, used in out.busy.items()}
        found[f"{gpus:,} GPUs"]["until the batch knows of the last row, s"] = round(
            out.wall_s - out.work_end_s
        )
        for name, used in out.busy.items():
            if used < 1:
                ends[name] = int(round(gpus / used, -2 if gpus / used < 1e5 else -4))
    # The network of a node serves its own GPUs alone.
    ends["network of a node"] = "never"
    found["full at, GPUs"] = {**ends, "until the batch knows of the last row, s": ""}
    return found


def larger(args: Args, base: Cluster, cases: Sequence[tuple[str, int, int, int]]) -> dict:
    """Ten times the rows on the largest cluster: with (title, batches at once, prefixes, rows of a
    list)."""
    found = {}
    for title, batches, prefixes, rows in cases:
        whole = replace(base, gpus=max(args.gpus), rows=rows)
        cluster = at_once(whole, batches, prefixes)
        out = simulated(cluster)
        found[title] = summed(10 * args.rows, cluster, out, args.price, batches)
    return found


def main(args: Args) -> None:
    base = Cluster(rows=MOST_ROWS, seed=args.seed)
    rows = {"sizes": sizes(args, base)}
    table(f"{args.rows:,} rows of {base.row_s / 60:g} minutes, batches of {MOST_ROWS:,} one after "
          "another", rows["sizes"])  # fmt: skip
    rows["full"] = full(args, base, base.steps_s)
    table("How full each part is, one batch", rows["full"])
    rows["full, all steps"] = full(args, base, UNLIMITED)
    table("The same if each row told of a step every two seconds", rows["full, all steps"])
    rows["failures"] = failures(args, base)
    table(f"GPUs that are taken away, {base.gpus:,} GPUs", rows["failures"])
    rows["larger"] = larger(
        args,
        base,
        [
            ("one batch after another", 1, 1, MOST_ROWS),
            ("10 batches at once, one prefix", 10, 1, MOST_ROWS),
            ("10 batches at once, a prefix each", 10, 10, MOST_ROWS),
        ],
    )
    table(f"{10 * args.rows:,} rows on {max(args.gpus):,} GPUs", rows["larger"])
    if args.record:
        append("scale", {"assumed": dataclasses.asdict(base), "price": args.price, **rows})


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
