"""scripts/janus_by_eye.py: pages of runs and hidden two-faced objects, and the comparison."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import tyro
from PIL import Image

from gs3d.evaluation.reference import reference_splats
from gs3d.io.splats.ply import write_ply
from gs3d.world.sample import sample

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "janus_by_eye.py"))


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """Output directory of an evaluation of two kinds with a front and one without."""
    out, results = tmp_path_factory.mktemp("evaluation"), []
    for i, (kind, janus) in enumerate((("duck", 0.0), ("car", 0.0), ("mug", None))):
        folder = out / "runs" / f"a-red-{kind}"
        folder.mkdir(parents=True)
        write_ply(
            folder / "splats.ply",
            reference_splats(
                sample(np.random.default_rng(i), kind, "red", plain=True).parts, size_px=64
            ),
        )
        results.append(
            {
                "prompt": f"a red {kind}",
                "method": "sds",
                "seed": i,
                "folder": f"runs/a-red-{kind}",
                "grade": {"janus": janus},
            }
        )
    (out / "evaluation.json").write_text(json.dumps({"results": results}))
    return out


def run(evaluation, **settings):
    SCRIPT["main"](SCRIPT["Args"](evaluation, **settings))


def test_pages_show_eight_sides_of_objects_with_a_front(evaluation, tmp_path):
    run(evaluation, out=tmp_path, hidden=2)
    with Image.open(tmp_path / "page-0.png") as page:
        assert page.size == (30 + 8 * 96, 4 * 96)


def test_second_fronts_are_counted_for_runs_and_hidden_objects(evaluation, capsys):
    args = SCRIPT["Args"](evaluation, hidden=2)
    rows = SCRIPT["shown_rows"](args)
    hidden = tuple(row for row, (_, two_fronts) in enumerate(rows) if two_fronts)
    run(evaluation, hidden=2, second_fronts=hidden)
    rows = [
        line.split("|")[1:-1]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(("| sds", "| (two"))
    ]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["(two-faced)", "2", "2", "100 %", "–"],
        ["sds", "2", "0", "0 %", "0 %"],
    ]


def test_former_option_name_still_works(evaluation):
    args = tyro.cli(SCRIPT["Args"], args=[str(evaluation), "--said", "3", "17"])
    assert args.second_fronts == (3, 17)


def test_no_matching_run_is_an_error(evaluation):
    with pytest.raises(SystemExit, match="no run of these methods and seeds"):
        run(evaluation, methods=("cds",))
