"""From graded runs to a table with honest intervals and a sheet of pictures."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gs3d.core.types import Splats
from gs3d.evaluation.grade import DRAWN_PX, VIEWS, Grade, draw
from gs3d.export.atomic import write_atomic


@dataclass(frozen=True)
class Result:
    """One run and its marks."""

    method: str
    kind: str
    colour: str
    prompt: str
    folder: str
    """Where the run left its files, relative to the folder of the benchmark."""
    seconds: float
    """Wall clock of the whole command."""
    splats: int
    grade: Grade

    @staticmethod
    def of(tree: dict) -> "Result":
        """The inverse of `dataclasses.asdict` through JSON."""
        marks = {k: tuple(v) if isinstance(v, list) else v for k, v in tree["grade"].items()}
        return Result(**{**tree, "grade": Grade(**marks)})


MARKS: dict[str, Callable[[Result], float | None]] = {
    "kind_right": lambda r: r.grade.kind_right,
    "colour_right": lambda r: r.grade.colour_right,
    "janus": lambda r: r.grade.janus,
    "haze": lambda r: r.grade.haze,
}


def bootstrap(values: Sequence[float], rounds: int = 4000) -> tuple[float, float, float]:
    """The mean and its 95 % percentile interval over resampled runs; always the same for the same values.

    Runs are resampled, not views: the eight views of one object are far from independent.
    """
    if not values:
        return float("nan"), float("nan"), float("nan")
    data = np.asarray(values, float)
    means = data[np.random.default_rng(0).integers(0, len(data), (rounds, len(data)))].mean(1)
    return float(data.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def summary(results: Sequence[Result]) -> dict:
    """Marks of one method as {name: {mean, low, high}}, with medians of seconds and splats, and how many runs they come from."""
    out: dict = {"n": len(results)}
    for name, mark in MARKS.items():
        values = [v for v in map(mark, results) if v is not None]
        out[name] = dict(zip(("mean", "low", "high"), (round(v, 4) for v in bootstrap(values)), strict=True)) if values else None
    out["seconds"] = round(statistics.median(r.seconds for r in results), 1)
    out["splats"] = round(statistics.median(r.splats for r in results))
    return out


def _percent(mark: dict | None) -> str:
    return f"{100 * mark['mean']:.0f} ({100 * mark['low']:.0f}–{100 * mark['high']:.0f})" if mark else "–"


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def markdown(results: Sequence[Result]) -> str:
    """A table of methods, and one of kinds for each; means over runs, 95 % bootstrap intervals in brackets."""
    head = ("kind right %", "colour right %", "Janus %", "haze %", "median s", "median splats", "n")
    methods = list(dict.fromkeys(r.method for r in results))
    lines = [_row(("method", *head)), _row(["---"] * (len(head) + 1))]

    def add(first: Sequence[str], rows: list[Result]) -> None:
        s = summary(rows)
        lines.append(_row((*first, *(_percent(s[name]) for name in MARKS), s["seconds"], s["splats"], s["n"])))

    for method in methods:
        add([method], [r for r in results if r.method == method])
    lines += ["", _row(("kind", "method", *head)), _row(["---"] * (len(head) + 2))]
    for kind in dict.fromkeys(r.kind for r in results):
        for method in methods:
            if rows := [r for r in results if r.kind == kind and r.method == method]:
                add([kind, method], rows)
    return "\n".join(lines)


TEXT_PX = 232
GOOD, BAD = (40, 160, 70), (210, 50, 40)


def write_result_sheet(path: Path, results: Sequence[Result], load: Callable[[Result], Splats], cell_px: int = DRAWN_PX) -> None:
    """A PNG with a row a result: the prompt and its marks, then the eight views, each with a bar that is green where the kind is right."""
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (TEXT_PX + VIEWS * cell_px, max(len(results), 1) * cell_px), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, result in enumerate(results):
        top, marks = i * cell_px, result.grade
        pictures, _ = draw(load(result), cell_px)
        for j, picture in enumerate((pictures * 255 + 0.5).to(torch.uint8).numpy()):
            left = TEXT_PX + j * cell_px
            sheet.paste(Image.fromarray(picture), (left, top))
            pen.rectangle(
                (left, top + cell_px - 4, left + cell_px - 2, top + cell_px - 1), fill=GOOD if marks.kinds[j] == result.kind else BAD
            )
        janus = "" if marks.janus is None else f"   Janus {marks.janus:.0%}"
        lines = [
            result.prompt,
            result.method,
            f"kind {marks.kind_right:.0%}   colour {marks.colour_right:.0%}",
            f"haze {marks.haze:.1%}{janus}",
            f"{result.splats} splats   {result.seconds:.0f} s",
        ]
        pen.multiline_text((6, top + 8), "\n".join(lines), fill="black", font=font, spacing=6)

    def verify(temporary: Path) -> None:
        with Image.open(temporary) as back:
            back.verify()

    write_atomic(path, lambda temporary: sheet.save(temporary, format="PNG"), verify)


def to_json(results: Sequence[Result]) -> list[dict]:
    return [dataclasses.asdict(r) for r in results]
