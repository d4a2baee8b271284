"""From graded runs to tables with honest intervals and a sheet of pictures."""

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gs3d.evaluation.grade import DRAWN_PX, VIEWS, Grade, views_of
from gs3d.io.atomic import write_atomic
from gs3d.io.image.captions import broken
from gs3d.representations.asset import Asset

OPEN = "open"


@dataclass(frozen=True)
class Result:
    """One run and its marks."""

    method: str
    prompt: str
    seed: int
    kind: str
    """The kind that the prompt names; of two things, the first; OPEN for a prompt that is none of the world's."""
    split: str
    """Whether the prior may have seen such a thing in training (`world.splits`), or OPEN."""
    folder: str
    """Where the run left its files, relative to the folder of the evaluation."""
    outcome: str
    """"finished", or what ended the run early."""
    seconds: float
    """Wall clock of the whole command."""
    memory_mb: float | None
    """Peak memory of the process; None where the system does not say."""
    pieces: int
    """Splats, or triangles of a mesh."""
    grade: Grade

    @staticmethod
    def of(tree: dict) -> "Result":
        """The inverse of `dataclasses.asdict` through JSON."""
        marks = {k: tuple(v) if isinstance(v, list) else v for k, v in tree["grade"].items()}
        return Result(**{**tree, "grade": Grade(**marks)})


@dataclass(frozen=True)
class Column:
    """A mark of `Grade` in tables."""

    title: str
    scale: float = 100.0
    digits: int = 0
    better: int = 1
    """1 if more is better, −1 if less, 0 if near zero is."""


COLUMNS: dict[str, Column] = {
    "kind_right": Column("kind right %"),
    "color_right": Column("color right %"),
    "pattern_right": Column("pattern right %"),
    "r_precision": Column("R-precision %"),
    "clip_similarity": Column("CLIP ×100", digits=1),
    "janus": Column("Janus %", better=-1),
    "agreement": Column("views agree %"),
    "empty": Column("nothing solid %", better=-1),
    "residue": Column("residue %", better=-1),
    "floaters": Column("floaters %", better=-1),
    "chamfer": Column("Chamfer ×100", digits=1, better=-1),
    "normal_deg": Column("normals °", scale=1.0, better=-1),
    "saturation_bias": Column("saturation bias %", better=0),
    "brightness_bias": Column("brightness bias %", better=0),
}


def bootstrap(values: Sequence[float], rounds: int = 4000) -> tuple[float, float, float]:
    """The mean and its 95 % percentile interval over resampled values; always the same for the same values."""
    if not values:
        return float("nan"), float("nan"), float("nan")
    data = np.asarray(values, float)
    means = data[np.random.default_rng(0).integers(0, len(data), (rounds, len(data)))].mean(1)
    return float(data.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


FEWEST = 5
"""Prompts that an interval needs: resampling fewer says more about luck than about the method."""


def interval(marks: Iterable[tuple[str, float | None]]) -> dict | None:
    """{mean, low, high, prompts} of (prompt, mark) pairs; None if all marks are, no low and high below FEWEST prompts.

    Prompts are resampled, each with the mean of its runs: neither the views of an object nor the seeds of a prompt are independent.
    """
    by_prompt: dict[str, list[float]] = defaultdict(list)
    for prompt, value in marks:
        if value is not None:
            by_prompt[prompt].append(value)
    if not by_prompt:
        return None
    mean, low, high = (
        round(v, 4) for v in bootstrap([statistics.fmean(v) for v in by_prompt.values()])
    )
    few = len(by_prompt) < FEWEST
    return {
        "mean": mean,
        "low": None if few else low,
        "high": None if few else high,
        "prompts": len(by_prompt),
    }


def summary(results: Sequence[Result]) -> dict:
    """Marks of one method as {name: {mean, low, high}}, with medians of seconds, memory and pieces, and how many runs they come from."""
    out: dict = {"n": len(results), "ended_early": sum(r.outcome != "finished" for r in results)}
    out |= {mark: interval((r.prompt, getattr(r.grade, mark)) for r in results) for mark in COLUMNS}
    memory = [r.memory_mb for r in results if r.memory_mb is not None]
    out["seconds"] = round(statistics.median(r.seconds for r in results), 1)
    out["memory_mb"] = round(statistics.median(memory)) if memory else None
    out["pieces"] = round(statistics.median(r.pieces for r in results))
    return out


def paired(results: Sequence[Result], one: str, other: str) -> list[tuple[Result, Result]]:
    """The runs of method `one`, each with that of `other` for the same prompt with the same seed, where there is one."""
    runs = {(r.method, r.prompt, r.seed): r for r in results}
    return [
        (a, runs[other, prompt, seed])
        for (m, prompt, seed), a in runs.items()
        if m == one and (other, prompt, seed) in runs
    ]


def difference(results: Sequence[Result], one: str, other: str) -> dict:
    """Mark → {mean, low, high} of method `one` minus `other` over the runs that both have (`paired`)."""
    pairs = paired(results, one, other)
    out: dict = {"n": len(pairs)}
    for mark in COLUMNS:
        values = [(a.prompt, getattr(a.grade, mark), getattr(b.grade, mark)) for a, b in pairs]
        out[mark] = interval(
            (prompt, None if x is None or y is None else x - y) for prompt, x, y in values
        )
    return out


def shown(mark: str, value: dict | None, sign: str = "") -> str:
    """E.g. "93 (88–97)"; `sign` "+" writes the sign of positive numbers too."""
    if not value:
        return "–"
    column = COLUMNS[mark]

    def said(number: float) -> str:
        return f"{round(column.scale * number, column.digits) + 0.0:{sign}.{column.digits}f}"  # + 0.0: never "-0"

    if value["low"] is None:
        return said(value["mean"])
    between = " to " if sign or column.better == 0 else "–"
    return f"{said(value['mean'])} ({said(value['low'])}{between}{said(value['high'])})"


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def tables(results: Sequence[Result]) -> dict[str, list[list[str]]]:
    """Title → rows of a table, the first its head: methods, their differences from the first, both splits, and kinds."""
    methods = list(dict.fromkeys(r.method for r in results))
    marks = [mark for mark in COLUMNS if any(getattr(r.grade, mark) is not None for r in results)]
    head = [
        *(COLUMNS[mark].title for mark in marks),
        "median s",
        "median MB",
        "median splats or triangles",
        "n",
    ]

    def cells(rows: list[Result]) -> list[str]:
        s = summary(rows)
        early = f" ({s['ended_early']} ended early)" if s["ended_early"] else ""
        taken = (str(s[k] if s[k] is not None else "–") for k in ("seconds", "memory_mb", "pieces"))
        return [*(shown(mark, s[mark]) for mark in marks), *taken, f"{s['n']}{early}"]

    def by(of: Callable[[Result], str], name: str) -> list[list[str]]:
        rows = [[name, "method", *head]]
        for value in dict.fromkeys(map(of, results)):
            chosen = [
                (m, [r for r in results if of(r) == value and r.method == m]) for m in methods
            ]
            rows += [[value, m, *cells(some)] for m, some in chosen if some]
        return rows

    out = {
        "Methods": [
            ["method", *head],
            *([m, *cells([r for r in results if r.method == m])] for m in methods),
        ]
    }
    if len(methods) > 1:
        rows = [["paired difference", *head[: len(marks)], "n"]]
        for other in methods[1:]:
            apart = difference(results, methods[0], other)
            rows.append(
                [
                    f"{methods[0]} minus {other}",
                    *(shown(mark, apart[mark], "+") for mark in marks),
                    str(apart["n"]),
                ]
            )
        out["Differences"] = rows
    if len({r.split for r in results}) > 1:
        out["Seen and unseen in training"] = by(lambda r: r.split, "split")
    out["Kinds"] = by(lambda r: r.kind, "kind")
    return out


def markdown(results: Sequence[Result]) -> str:
    """`tables` as Markdown; means over prompts, 95 % bootstrap intervals in brackets."""
    parts = [
        [_row(rows[0]), _row(["---"] * len(rows[0])), *map(_row, rows[1:])]
        for rows in tables(results).values()
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


TEXT_PX = 232
GOOD, BAD = (40, 160, 70), (210, 50, 40)


MOST = 400
"""Rows of a sheet; a taller picture is one that many programs will not open."""


def write_result_sheet(
    path: Path, results: Sequence[Result], load: Callable[[Result], Asset], cell_px: int = DRAWN_PX
) -> None:
    """A PNG with a row for each of the first MOST results: prompt, marks, and eight views, their bars green where the kind is right."""
    from PIL import Image, ImageDraw, ImageFont

    results = results[:MOST]
    sheet = Image.new("RGB", (TEXT_PX + VIEWS * cell_px, max(len(results), 1) * cell_px), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, result in enumerate(results):
        top, marks = i * cell_px, result.grade
        pictures, _ = views_of(load(result), cell_px)
        for j, picture in enumerate((pictures * 255 + 0.5).to(torch.uint8).numpy()):
            left = TEXT_PX + j * cell_px
            sheet.paste(Image.fromarray(picture), (left, top))
            if marks.kind_right is not None:
                color = GOOD if marks.kinds[j] == result.kind else BAD
                pen.rectangle(
                    (left, top + cell_px - 4, left + cell_px - 2, top + cell_px - 1), fill=color
                )
        shares = {"kind": marks.kind_right, "color": marks.color_right, "Janus": marks.janus}
        lines = [
            *broken(result.prompt, 34),
            *broken(f"{result.method}, seed {result.seed}", 34),
            "   ".join(
                f"{name} {share:.0%}" for name, share in shares.items() if share is not None
            ),
            "   ".join(
                f"{name} {value:.3f}"
                for name, value in (("residue", marks.residue), ("Chamfer", marks.chamfer))
                if value is not None
            ),
            f"{result.pieces} pieces   {result.seconds:.0f} s",
        ]
        pen.multiline_text((6, top + 8), "\n".join(lines), fill="black", font=font, spacing=3)

    def verify(temporary: Path) -> None:
        with Image.open(temporary) as back:
            back.verify()

    write_atomic(path, lambda temporary: sheet.save(temporary, format="PNG"), verify)


def to_json(results: Sequence[Result]) -> list[dict]:
    return [dataclasses.asdict(r) for r in results]
