import json

import numpy as np
import pytest
from PIL import Image

from gs3d.evaluation.grade import Grade
from gs3d.evaluation.report import Result, bootstrap, markdown, summary, to_json, write_result_sheet
from gs3d.evaluation.truth import true_splats
from gs3d.world.sample import sample


def result(method="cds", kind="duck", right=1.0, janus=0.0, seconds=10.0, splats=100):
    words = (kind,) * 8
    marks = Grade(right, 0.5, 0.9, 0.8, janus, 0.05, 0.3, 0.0, words, ("red",) * 8, ("front",) * 8)
    return Result(method, kind, "red", f"a red {kind}", f"runs/{kind}-{method}", seconds, splats, marks)


def test_the_interval_holds_the_mean_and_shrinks_with_more_runs():
    few, many = bootstrap([0.0, 1.0] * 5), bootstrap([0.0, 1.0] * 100)
    assert few[0] == many[0] == 0.5
    assert few[1] < many[1] < 0.5 < many[2] < few[2]
    # 200 fair coins: the mean has a standard deviation of 0.5 / √200
    assert many[2] - many[1] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(200), rel=0.1)
    assert bootstrap([1.0, 1.0]) == (1, 1, 1) and bootstrap([0.0, 1.0] * 5) == few


def test_a_summary_leaves_out_what_has_no_answer():
    s = summary([result(right=1.0, janus=None), result(right=0.5, janus=0.25, seconds=30, splats=300)])
    assert s["kind_right"]["mean"] == 0.75 and s["janus"]["mean"] == 0.25
    assert s["seconds"] == 20 and s["splats"] == 200 and s["n"] == 2
    assert summary([result(janus=None)])["janus"] is None


def test_the_table_has_a_row_a_method_and_a_row_a_kind_and_method():
    table = markdown([result(), result("sds", right=0.5), result(kind="mug", janus=None), result("sds", "mug", janus=None)])
    lines = table.splitlines()
    assert lines[0].startswith("| method | kind right % |") and lines[2].startswith(
        "| cds | 100 (100–100) | 50 (50–50) | 0 (0–0) | 5 (5–5) |"
    )
    assert lines[3].startswith("| sds | 75 (50–100) |")
    assert [line.split("|")[1:3] for line in lines if line.startswith(("| duck", "| mug"))] == [
        [" duck ", " cds "],
        [" duck ", " sds "],
        [" mug ", " cds "],
        [" mug ", " sds "],
    ]
    assert len({line.count("|") for line in lines[5:]}) == 1


def test_results_survive_json():
    results = [result(), result("sds", "mug", janus=None)]
    assert [Result.of(tree) for tree in json.loads(json.dumps(to_json(results)))] == results


def test_the_sheet_has_a_row_a_result_and_green_and_red_bars(tmp_path):
    splats = true_splats(sample(np.random.default_rng(0), "duck", "red").parts, size_px=32)
    rows = [result(), result("sds")]
    write_result_sheet(tmp_path / "sheet.png", rows, lambda r: splats, cell_px=64)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape == (128, 232 + 8 * 64, 3)
    assert (pixels[62, 232::64] @ (-1, 1, 0) > 50).all()  # more green than red below every view
    assert (pixels[:60, :232] < 128).any()  # the text
