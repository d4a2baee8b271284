"""Second faces by eye, not knowing whose they are: `python scripts/janus_by_eye.py outputs/evaluation-ablation`.

Draws what the runs of an evaluation made of prompts with a front, splats alone, from eight sides and in an order that tells nothing, with
some that have two fronts for certain hidden among them (`evaluation.truth.two_faced`): page-0.png and on, in `--out`. Write down the rows
that show a second face, or could, and call it again with `--said 3 17 …`: what was seen of each method and of the hidden ones, and beside
it what the mark of Janus says of the same splats.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image, ImageDraw

from gs3d.core.types import Splats
from gs3d.evaluation.classifier import Classifier
from gs3d.evaluation.grade import janus_of, views_of
from gs3d.evaluation.reference import two_faced
from gs3d.io import load_asset
from gs3d.world.prompt_parser import parse_prompt

CELL_PX, ROWS, MARGIN_PX = 96, 12, 30
HIDDEN = "(two-faced)"


@dataclass(frozen=True)
class Args:
    evaluation: tyro.conf.Positional[Path]
    """Folder of an evaluation."""
    out: Path = Path("runs/eye")
    methods: tuple[str, ...] = ()
    """Of these alone; all if none is named."""
    seeds: tuple[int, ...] = ()
    """Of these alone; all if none is named."""
    hidden: int = 16
    """How many with two fronts are hidden among them, made of runs that are shown or not."""
    order: int = 0
    """Seed of the order."""
    said: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="ROW…")] = None
    """Rows that show a second face; without, pages are drawn."""


def shown_rows(args: Args) -> list[tuple[dict, bool]]:
    """(result as in evaluation.json, whether it is shown with two fronts), in the order of the pages."""
    results = json.loads((args.evaluation / "evaluation.json").read_text())["results"]
    fronts = [r for r in results if r["grade"]["janus"] is not None]
    runs = [
        r
        for r in fronts
        if (not args.methods or r["method"] in args.methods)
        and (not args.seeds or r["seed"] in args.seeds)
    ]
    if not runs:
        raise SystemExit(
            f"{args.evaluation}: no run of these methods and seeds whose prompt has a front"
        )
    rng = random.Random(args.order)
    rows = [(r, False) for r in runs] + [
        (r, True) for r in rng.sample(fronts, min(args.hidden, len(fronts)))
    ]
    rng.shuffle(rows)
    return rows


def splats_of(args: Args, result: dict, twice: bool) -> Splats:
    made = load_asset(args.evaluation / result["folder"])
    if not isinstance(made, Splats):
        raise SystemExit(f"{result['folder']}: expected splats, got a mesh")
    return two_faced(made) if twice else made


def draw_pages(args: Args, rows: list[tuple[dict, bool]]) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(rows), ROWS):
        part = rows[first : first + ROWS]
        page = Image.new("RGB", (MARGIN_PX + 8 * CELL_PX, len(part) * CELL_PX), "white")
        for i, (result, twice) in enumerate(part):
            strip = np.concatenate(
                list(views_of(splats_of(args, result, twice))[0].numpy()), axis=1
            )
            picture = Image.fromarray((255 * strip).astype(np.uint8)).resize(
                (8 * CELL_PX, CELL_PX), Image.Resampling.LANCZOS
            )
            page.paste(picture, (MARGIN_PX, i * CELL_PX))
            ImageDraw.Draw(page).text((4, i * CELL_PX + CELL_PX // 2), str(first + i), fill="black")
        page.save(args.out / f"page-{first // ROWS}.png")
    print(f"{len(rows)} rows in {args.out}")


def compare(args: Args, rows: list[tuple[dict, bool]], said: set[int]) -> None:
    classifier, seen = Classifier.load(), {}
    for row, (result, twice) in enumerate(rows):
        mark = janus_of(
            splats_of(args, result, twice), parse_prompt(result["prompt"]).thing.kind, classifier
        )
        seen.setdefault(HIDDEN if twice else result["method"], []).append((row in said, mark))
    print(
        "| method | n | second face by eye | Janus % by the mark | of those with none by eye |\n|---|---|---|---|---|"
    )
    for method, given in sorted(seen.items()):
        none = [mark for by_eye, mark in given if not by_eye]
        share = f"{100 * np.mean(none):.0f} %" if none else "–"
        print(
            f"| {method} | {len(given)} | {sum(by_eye for by_eye, _ in given)} | {100 * np.mean([m for _, m in given]):.0f} % | {share} |"
        )


def main(args: Args) -> None:
    rows = shown_rows(args)
    draw_pages(args, rows) if args.said is None else compare(args, rows, set(args.said))


if __name__ == "__main__":
    main(tyro.cli(Args))
