"""Tables of graded runs with confidence intervals."""

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from gs3d.evaluation.grade import Grade

OPEN = "open"
"""Kind and split of a prompt outside the procedural world."""


@dataclass(frozen=True)
class Result:
    """One run and its grade."""

    method: str
    prompt: str
    seed: int
    kind: str
    """Kind that the prompt names; the first one of two; `OPEN` outside the procedural world."""
    split: str
    """Whether the prior may have seen the object's attributes in training (`world.splits`), or
    `OPEN`."""
    folder: str
    """Output directory of the run, relative to that of the evaluation."""
    outcome: str
    """"finished", or the reason for an early end."""
    seconds: float
    """Wall-clock time of the whole command."""
    memory_mb: float | None
    """Peak memory of the process; None if the system does not report it."""
    pieces: int
    """Number of splats, or of triangles of a mesh."""
    grade: Grade
    evaluations_per_s: float | None = None
    """Evaluations of the prior in a second; None if it is not known."""

    @staticmethod
    def of(tree: dict) -> "Result":
        """Rebuild a result from `dataclasses.asdict` after a round trip through JSON."""
        metrics = {k: tuple(v) if isinstance(v, list) else v for k, v in tree["grade"].items()}
        return Result(**{**tree, "grade": Grade(**cast("dict[str, Any]", metrics))})


@dataclass(frozen=True)
class Column:
    """Format of a metric of `Grade` in tables."""

    title: str
    scale: float = 100.0
    digits: int = 0
    better: int = 1
    """1 if higher is better, −1 if lower is better, 0 if close to zero is better."""


COLUMNS: dict[str, Column] = {
    "kind_right": Column("kind right %"),
    "color_right": Column("color right %"),
    "pattern_right": Column("pattern right %"),
    "both_kinds": Column("both kinds %"),
    "exchanged_colors": Column("colors exchanged %", better=-1),
    "relation_right": Column("relation right %"),
    "r_precision": Column("R-precision %"),
    "clip_similarity": Column("CLIP ×100", digits=1),
    "janus": Column("Janus %", better=-1),
    "agreement": Column("views agree %"),
    "empty": Column("nothing solid %", better=-1),
    "residue": Column("residue %", better=-1),
    "floaters": Column("floaters %", better=-1),
    "chamfer": Column("Chamfer ×100", digits=1, better=-1),
    "normal_deg": Column("normals °", scale=1.0, better=-1),
    "small_parts": Column("small parts %"),
    "minor_colors": Column("minor colors %"),
    "fine_detail": Column("fine detail %"),
    "grain": Column("grain /255", scale=255.0, digits=1, better=0),
    "edge_sharpness": Column("edge sharpness %"),
    "rim_width": Column("rim width", scale=1.0, digits=2, better=-1),
    "saturation_bias": Column("saturation bias %", better=0),
    "brightness_bias": Column("brightness bias %", better=0),
}
"""Field of `Grade` → its column."""


def bootstrap(values: Sequence[float], rounds: int = 4000) -> tuple[float, float, float]:
    """Return the mean and the ends of its 95 % percentile bootstrap interval.

    Equal values always give the same interval. Without values, all three numbers are NaN.
    """
    if not values:
        return float("nan"), float("nan"), float("nan")
    data = np.asarray(values, float)
    means = data[np.random.default_rng(0).integers(0, len(data), (rounds, len(data)))].mean(1)
    return float(data.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


MIN_PROMPTS = 5
"""Fewest prompts for an interval: the bootstrap is unreliable on fewer."""


def interval(values: Iterable[tuple[str, float | None]]) -> dict | None:
    """Summarize (prompt, value) pairs as {mean, low, high, prompts}.

    Prompts are resampled, each with the mean of its runs, because neither the views of an asset nor
    the seeds of a prompt are independent. Returns None if all values are None. `low` and `high` are
    None for fewer than five prompts.
    """
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for prompt, value in values:
        if value is not None:
            by_prompt[prompt].append(value)
    if not by_prompt:
        return None
    mean, low, high = (
        round(v, 4) for v in bootstrap([statistics.fmean(v) for v in by_prompt.values()])
    )
    few = len(by_prompt) < MIN_PROMPTS
    return {
        "mean": mean,
        "low": None if few else low,
        "high": None if few else high,
        "prompts": len(by_prompt),
    }


def summary(results: Sequence[Result]) -> dict:
    """Summarize the results of one method: `interval` of each metric, counts of runs, and medians.

    The medians are those of seconds, memory and number of splats or triangles.
    """
    out: dict = {"n": len(results), "ended_early": sum(r.outcome != "finished" for r in results)}
    out |= {name: interval((r.prompt, getattr(r.grade, name)) for r in results) for name in COLUMNS}
    memory = [r.memory_mb for r in results if r.memory_mb is not None]
    rates = [r.evaluations_per_s for r in results if r.evaluations_per_s is not None]
    out["evaluations_per_s"] = round(statistics.median(rates), 1) if rates else None
    out["seconds"] = round(statistics.median(r.seconds for r in results), 1)
    out["memory_mb"] = round(statistics.median(memory)) if memory else None
    out["pieces"] = round(statistics.median(r.pieces for r in results))
    return out


def paired(results: Sequence[Result], one: str, other: str) -> list[tuple[Result, Result]]:
    """Pair each run of method `one` with the run of `other` for the same prompt and seed.

    Several of these, such as particles of one run, are paired in their order.
    """
    runs: dict[tuple[str, str, int], list[Result]] = defaultdict(list)
    for r in results:
        runs[r.method, r.prompt, r.seed].append(r)
    return [
        pair
        for (m, prompt, seed), mine in list(runs.items())
        if m == one
        for pair in zip(mine, runs.get((other, prompt, seed), ()), strict=False)
    ]


def difference(results: Sequence[Result], one: str, other: str) -> dict:
    """Return the `interval` of each metric of method `one` minus `other` over their pairs."""
    pairs = paired(results, one, other)
    out: dict = {"n": len(pairs)}
    for name in COLUMNS:
        values = [(a.prompt, getattr(a.grade, name), getattr(b.grade, name)) for a, b in pairs]
        out[name] = interval(
            (prompt, None if x is None or y is None else x - y) for prompt, x, y in values
        )
    return out


def shown(metric: str, value: dict | None, sign: str = "") -> str:
    """Format an `interval`, e.g. "93 (88–97)"; `sign` "+" also writes the sign of positives."""
    if not value:
        return "–"
    column = COLUMNS[metric]

    def formatted(number: float) -> str:
        rounded = round(column.scale * number, column.digits) + 0.0  # + 0.0: never "-0"
        return f"{rounded:{sign}.{column.digits}f}"

    if value["low"] is None:
        return formatted(value["mean"])
    dash = " to " if sign or column.better == 0 else "–"
    return f"{formatted(value['mean'])} ({formatted(value['low'])}{dash}{formatted(value['high'])})"


def tables(results: Sequence[Result]) -> dict[str, list[list[str]]]:
    """Build all tables: title → rows, the first of them the header.

    There are tables of the methods, of their differences from the first method, of the two splits,
    and of the kinds.
    """
    methods = list(dict.fromkeys(r.method for r in results))
    names = [name for name in COLUMNS if any(getattr(r.grade, name) is not None for r in results)]
    head = [
        *(COLUMNS[name].title for name in names),
        "median s",
        "evaluations/s",
        "median MB",
        "median splats or triangles",
        "n",
    ]

    def cells(rows: list[Result]) -> list[str]:
        s = summary(rows)
        early = f" ({s['ended_early']} ended early)" if s["ended_early"] else ""
        costs_of = ("seconds", "evaluations_per_s", "memory_mb", "pieces")
        costs = (str(s[k] if s[k] is not None else "–") for k in costs_of)
        return [*(shown(name, s[name]) for name in names), *costs, f"{s['n']}{early}"]

    def grouped(key: Callable[[Result], str], title: str) -> list[list[str]]:
        rows = [[title, "method", *head]]
        for value in dict.fromkeys(map(key, results)):
            chosen = [
                (m, [r for r in results if key(r) == value and r.method == m]) for m in methods
            ]
            rows += [[value, m, *cells(group)] for m, group in chosen if group]
        return rows

    out = {
        "Methods": [
            ["method", *head],
            *([m, *cells([r for r in results if r.method == m])] for m in methods),
        ]
    }
    if len(methods) > 1:
        rows = [["paired difference", *head[: len(names)], "n"]]
        for other in methods[1:]:
            apart = difference(results, methods[0], other)
            rows.append(
                [
                    f"{methods[0]} minus {other}",
                    *(shown(name, apart[name], "+") for name in names),
                    str(apart["n"]),
                ]
            )
        out["Differences"] = rows
    if len({r.split for r in results}) > 1:
        out["Seen and unseen in training"] = grouped(lambda r: r.split, "split")
    out["Kinds"] = grouped(lambda r: r.kind, "kind")
    return out


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def markdown(all_tables: dict[str, list[list[str]]]) -> str:
    """Format tables as Markdown: means over prompts, 95 % bootstrap intervals in parentheses."""
    parts = [
        [_row(rows[0]), _row(["---"] * len(rows[0])), *map(_row, rows[1:])]
        for rows in all_tables.values()
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def to_json(results: Sequence[Result]) -> list[dict]:
    """Convert results to the dictionaries that `Result.of` reads."""
    return [dataclasses.asdict(r) for r in results]
