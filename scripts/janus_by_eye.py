"""Compare the Janus metric with a blind visual check for second fronts.

`python scripts/janus_by_eye.py outputs/evaluation-ablation` draws the splats of an evaluation from
eight sides in random order, for prompts of objects with a front. Hidden among them are objects that
certainly have two fronts (`evaluation.reference.two_faced`). The pages go to --out as
page-0.png and so on.

Write down the rows that show, or may show, a second front. Then run the command again with
`--second-fronts 3 17 …`. It prints what was seen for each method and for the hidden objects, next
to the Janus metric of the same splats.
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

VIEW_PX, ROWS, MARGIN_PX = 96, 12, 30
HIDDEN = "(two-faced)"


@dataclass(frozen=True)
class Args:
    evaluation: tyro.conf.Positional[Path]
    """Output directory of an evaluation."""
    out: Path = Path("runs/eye")
    """Output directory of the pages."""
    methods: tuple[str, ...] = ()
    """Methods to show; all by default."""
    seeds: tuple[int, ...] = ()
    """Seeds to show; all by default."""
    hidden: int = 16
    """Number of hidden objects with two fronts, made from any runs of the evaluation."""
    order: int = 0
    """Random seed of the order."""
    second_fronts: Annotated[
        tuple[int, ...] | None, tyro.conf.arg(metavar="ROW…", aliases=["--said"])
    ] = None
    """Rows that show a second front; without this option the pages are drawn."""


def shown_rows(args: Args) -> list[tuple[dict, bool]]:
    """Return the rows of the pages: (result from evaluation.json, whether it gets two fronts)."""
    results = json.loads((args.evaluation / "evaluation.json").read_text())["results"]
    with_front = [r for r in results if r["grade"]["janus"] is not None]
    runs = [
        r
        for r in with_front
        if (not args.methods or r["method"] in args.methods)
        and (not args.seeds or r["seed"] in args.seeds)
    ]
    if not runs:
        raise SystemExit(
            f"{args.evaluation}: no run of these methods and seeds has a prompt with a front;"
            " choose other --methods and --seeds"
        )
    rng = random.Random(args.order)
    rows = [(r, False) for r in runs] + [
        (r, True) for r in rng.sample(with_front, min(args.hidden, len(with_front)))
    ]
    rng.shuffle(rows)
    return rows


def splats_of(args: Args, result: dict, two_fronts: bool) -> Splats:
    """Load the splats of a run, with two fronts if `two_fronts`."""
    asset = load_asset(args.evaluation / result["folder"])
    if not isinstance(asset, Splats):
        raise SystemExit(f"{result['folder']}: expected splats, got a mesh; choose other --methods")
    return two_faced(asset) if two_fronts else asset


def draw_pages(args: Args, rows: list[tuple[dict, bool]]) -> None:
    """Write the pages, twelve numbered rows each."""
    args.out.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(rows), ROWS):
        part = rows[first : first + ROWS]
        page = Image.new("RGB", (MARGIN_PX + 8 * VIEW_PX, len(part) * VIEW_PX), "white")
        for i, (result, two_fronts) in enumerate(part):
            views = np.concatenate(
                list(views_of(splats_of(args, result, two_fronts))[0].numpy()), axis=1
            )
            image = Image.fromarray((255 * views).astype(np.uint8)).resize(
                (8 * VIEW_PX, VIEW_PX), Image.Resampling.LANCZOS
            )
            page.paste(image, (MARGIN_PX, i * VIEW_PX))
            ImageDraw.Draw(page).text((4, i * VIEW_PX + VIEW_PX // 2), str(first + i), fill="black")
        page.save(args.out / f"page-{first // ROWS}.png")
    print(f"{len(rows)} rows in {args.out}")


def compare(args: Args, rows: list[tuple[dict, bool]], second_fronts: set[int]) -> None:
    """Print the visual verdicts and the Janus metric of each method and of the hidden objects."""
    classifier, by_method = Classifier.load(), {}
    for row, (result, two_fronts) in enumerate(rows):
        janus = janus_of(
            splats_of(args, result, two_fronts),
            parse_prompt(result["prompt"]).thing.kind,
            classifier,
        )
        method = HIDDEN if two_fronts else result["method"]
        by_method.setdefault(method, []).append((row in second_fronts, janus))
    print("| method | n | second front by eye | Janus % | Janus % of those with none by eye |")
    print("|---|---|---|---|---|")
    for method, verdicts in sorted(by_method.items()):
        none = [janus for by_eye, janus in verdicts if not by_eye]
        count = sum(by_eye for by_eye, _ in verdicts)
        share = f"{100 * np.mean([janus for _, janus in verdicts]):.0f} %"
        share_of_none = f"{100 * np.mean(none):.0f} %" if none else "–"
        print(f"| {method} | {len(verdicts)} | {count} | {share} | {share_of_none} |")


def main(args: Args) -> None:
    rows = shown_rows(args)
    if args.second_fronts is None:
        draw_pages(args, rows)
    else:
        compare(args, rows, set(args.second_fronts))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
