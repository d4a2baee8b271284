"""Draw docs/league.html: the report of an evaluation of many losses, with fewer and smaller views.

`python scripts/make_league.py outputs/evaluation-ablation` after `gs3d evaluate ablation --league`.
The tables are of all runs. Some of them can be turned, as in report.html.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from gs3d.evaluation.pooled import Pooled
from gs3d.evaluation.report import Result
from gs3d.evaluation.report_html import Strip, write_report
from gs3d.evaluation.results import NAME, all_tables, file_of, pictured
from gs3d.io import load_asset

STRIP = Strip(views=16, px=72)


@dataclass(frozen=True)
class Args:
    evaluation: tyro.conf.Positional[Path]
    """Folder of the evaluation, with its runs."""
    out: Path = Path("docs/league.html")


def main(args: Args) -> None:
    tree = json.loads((args.evaluation / NAME).read_text("utf-8"))
    results = [Result.of(row) for row in tree["results"]]
    tables = all_tables(results, [Pooled(**row) for row in tree["pooled"]])
    shown = pictured(results)
    settings = {**tree["settings"], "runs shown below": f"{len(shown)} of {len(results)}"}

    def load(result: Result):
        return load_asset(file_of(args.evaluation, result.folder))

    write_report(args.out, shown, tables, load, settings, size=STRIP)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
