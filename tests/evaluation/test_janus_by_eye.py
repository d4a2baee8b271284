"""The look by eye: runs and hidden two-faced ones, in the same order when it is said what was seen."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gs3d.evaluation.reference import reference_splats
from gs3d.io.splats.ply import write_ply
from gs3d.world.sample import sample

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "janus_by_eye.py"))


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
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


def test_what_has_no_front_is_not_shown_and_each_row_has_eight_sides(evaluation, tmp_path):
    run(evaluation, out=tmp_path, hidden=2)
    with Image.open(tmp_path / "page-0.png") as page:
        assert page.size == (30 + 8 * 96, 4 * 96)


def test_what_was_said_is_counted_for_runs_and_for_the_hidden(evaluation, capsys):
    args = SCRIPT["Args"](evaluation, hidden=2)
    hidden = tuple(row for row, (_, twice) in enumerate(SCRIPT["shown_rows"](args)) if twice)
    run(evaluation, hidden=2, said=hidden)
    rows = [
        line.split("|")[1:-1]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith(("| sds", "| (two"))
    ]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["(two-faced)", "2", "2", "100 %", "–"],
        ["sds", "2", "0", "0 %", "0 %"],
    ]


def test_nothing_to_show_is_said(evaluation):
    with pytest.raises(SystemExit, match="no run of these methods and seeds"):
        run(evaluation, methods=("cds",))
