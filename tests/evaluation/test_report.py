"""Tables, contact sheet and HTML report of graded runs."""

import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from gs3d.evaluation.grade import Grade
from gs3d.evaluation.reference import reference_splats
from gs3d.evaluation.report import (
    Result,
    bootstrap,
    difference,
    interval,
    markdown,
    summary,
    tables,
    to_json,
)
from gs3d.evaluation.report_html import (
    PLOT_BYTES,
    Strip,
    small_plot,
    strip,
    write_report,
)
from gs3d.evaluation.sheet import write_result_sheet
from gs3d.world.sample import sample

GRADE = Grade(
    kind_right=1.0,
    color_right=0.5,
    pattern_right=1.0,
    kind_probability=0.9,
    color_probability=0.8,
    agreement=1.0,
    janus=0.0,
    empty=0.0,
    residue=0.05,
    floaters=0.01,
    coverage=0.3,
    clipped=0.0,
    saturation_bias=0.1,
    brightness_bias=-0.02,
    chamfer=0.061,
    normal_deg=20.0,
    fine_detail=0.7,
    grain=0.01,
    edge_sharpness=0.8,
    rim_width=1.5,
    minor_colors=0.6,
    small_parts=0.5,
    kinds=("duck",) * 8,
    colors=("red",) * 8,
    views=("front",) * 8,
)


EIGHT_KINDS = ("duck", "mug", "car", "tree", "table", "house", "lamp", "chair")


def result(
    method="cds",
    kind="duck",
    seed=0,
    seconds=10.0,
    pieces=100,
    split="seen",
    outcome="finished",
    **metrics,
):
    grade = dataclasses.replace(GRADE, kinds=(kind,) * 8, **metrics)
    return Result(
        method,
        f"a red {kind}",
        seed,
        kind,
        split,
        f"runs/{kind}/{method}-s{seed}",
        outcome,
        seconds,
        500.0,
        pieces,
        grade,
    )


def test_bootstrap_interval_contains_the_mean_and_shrinks_with_more_values():
    few, many = bootstrap([0.0, 1.0] * 5), bootstrap([0.0, 1.0] * 100)
    assert few[0] == many[0] == 0.5
    assert few[1] < many[1] < 0.5 < many[2] < few[2]
    # 200 fair coins: the mean has a standard deviation of 0.5 / √200
    assert many[2] - many[1] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(200), rel=0.1)
    assert bootstrap([1.0, 1.0]) == (1, 1, 1) and bootstrap([0.0, 1.0] * 5) == few


def test_interval_counts_prompts_and_not_seeds():
    values = list(zip("abcdef", (0.0, 1.0, 1.0, 0.0, 1.0, 0.0), strict=True))
    six = interval(values)
    assert six == interval(values * 5)
    assert six["prompts"] == 6 and six["low"] < 0.5 < six["high"]


def test_few_prompts_have_a_mean_but_no_interval():
    assert interval([("a", 1.0), ("b", 0.0), ("c", None)] * 9) == {
        "mean": 0.5,
        "low": None,
        "high": None,
        "prompts": 2,
    }
    assert interval([("a", None)]) is None and interval([]) is None


def test_summary_skips_none():
    s = summary(
        [
            result(kind_right=1.0, janus=None),
            result(kind="mug", kind_right=0.5, janus=0.25, seconds=30, pieces=300),
        ]
    )
    assert s["kind_right"]["mean"] == 0.75 and s["janus"]["mean"] == 0.25
    assert s["seconds"] == 20 and s["pieces"] == 200 and s["memory_mb"] == 500 and s["n"] == 2
    assert summary([result(janus=None)])["janus"] is None


def test_difference_pairs_runs_of_the_same_prompt_and_seed():
    rows = [
        result(kind_right=1.0),
        result("sds", kind_right=0.5),
        result(kind="mug", kind_right=0.75),
        result("sds", "mug", kind_right=0.5),
    ]
    unpaired = [result(kind="car", kind_right=0.0), result("sds", seed=1, kind_right=0.0)]
    few = difference(rows + unpaired, "cds", "sds")
    assert few["n"] == 2 and few["kind_right"]["mean"] == 0.375
    many = [
        result(m, kind, kind_right=1.0 if m == "cds" else i / 8)
        for i, kind in enumerate(EIGHT_KINDS)
        for m in ("cds", "sds")
    ]
    of_many = difference(many, "cds", "sds")["kind_right"]
    assert of_many["mean"] == pytest.approx(9 / 16, abs=1e-4)
    assert 0.25 < of_many["low"] < 9 / 16 < of_many["high"] < 0.9


def test_tables_have_a_row_for_each_method_split_and_kind():
    rows = [
        result(),
        result("sds", kind_right=0.5),
        result(kind="mug", janus=None, split="unseen"),
        result("sds", "mug", janus=None, split="unseen"),
    ]
    built = tables(rows)
    assert list(built) == ["Methods", "Differences", "Seen and unseen in training", "Kinds"]
    assert [row[:2] for row in built["Methods"]] == [
        ["method", "kind right %"],
        ["cds", "100"],
        ["sds", "75"],
    ]
    assert built["Differences"][1][:2] == ["cds minus sds", "+25"]
    assert [row[:2] for row in built["Kinds"][1:]] == [
        ["duck", "cds"],
        ["duck", "sds"],
        ["mug", "cds"],
        ["mug", "sds"],
    ]
    assert [row[0] for row in built["Seen and unseen in training"][1:]] == [
        "seen",
        "seen",
        "unseen",
        "unseen",
    ]
    assert all(len({len(row) for row in table}) == 1 for table in built.values())
    lines = markdown(tables(rows)).splitlines()
    assert lines[0].startswith("| method | kind right % |")
    assert lines[1].startswith("| --- |") and lines[2].startswith("| cds | 100 |")
    chamfer = built["Methods"][0].index("Chamfer ×100")
    assert built["Methods"][1][chamfer] == "6.1"


def test_cells_with_intervals():
    head, row = tables(
        [
            result(kind=kind, kind_right=i / 8, saturation_bias=-0.001)
            for i, kind in enumerate(EIGHT_KINDS)
        ]
    )["Methods"]
    assert re.fullmatch(r"44 \(\d\d–\d\d\)", row[1])
    assert row[head.index("saturation bias %")] == "0 (0 to 0)"


def test_runs_that_ended_early_are_counted():
    rows = tables([result(), result(kind="mug", outcome="diverged")])["Methods"]
    assert rows[1][-1] == "2 (1 ended early)"


def test_metric_without_values_has_no_column():
    assert "Janus %" not in tables([result(janus=None)])["Methods"][0]


def test_results_survive_a_round_trip_through_json():
    results = [result(), result("sds", "mug", janus=None)]
    assert [Result.of(tree) for tree in json.loads(json.dumps(to_json(results)))] == results


EXTERNAL = r"""(src|href)\s*=|@import|url\((?!data:)"""
"""Matches HTML and CSS that would load another file."""


@pytest.fixture(scope="module")
def splats():
    return reference_splats(sample(np.random.default_rng(0), "duck", "red").parts, size_px=32)


def test_contact_sheet_has_one_row_per_result_and_green_and_red_bars(tmp_path, splats):
    rows = [result(), dataclasses.replace(result("sds"), kind="mug")]
    write_result_sheet(tmp_path / "sheet.png", rows, lambda r: splats, cell_px=64)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape == (128, 232 + 8 * 64, 3)
    assert (pixels[62, 232::64] @ (-1, 1, 0) > 50).all()
    assert (pixels[126, 232::64] @ (1, -1, 0) > 50).all()
    assert (pixels[:60, :232] < 128).any()  # the text


def test_report_is_self_contained_and_escapes_its_input(tmp_path, splats):
    rows = [dataclasses.replace(result(), prompt='a "red" <duck>'), result("sds", kind="mug")]
    write_report(
        tmp_path / "report.html",
        rows,
        tables(rows),
        lambda r: splats,
        {"budget": "--steps 1", "prior": "<x>"},
    )
    page = (tmp_path / "report.html").read_text()
    assert "{{" not in page and page.rstrip().endswith("</html>")
    assert "<duck>" not in page and "a &quot;red&quot; &lt;duck&gt;" in page and "<x>" not in page
    assert not re.search(EXTERNAL, page)
    assert page.count('class="turn r') == page.count("data:image/webp") == 2
    # There are no two runs of one prompt, and no plots.
    assert 'class="slider"' not in page and "<details>" not in page
    head, *body = re.findall(r"<tr>.*?</tr>", page[page.index("<h2>Runs") :])
    assert head.count("<th") == body[0].count("<td") == body[1].count("<td")


def test_report_has_a_slider_for_two_methods_with_the_same_prompt_and_seed(tmp_path, splats):
    rows = [
        result(),
        result("sds"),
        result("sds", seed=1),
        result("vds<"),
        result(kind="mug"),
        result("vds<", kind="mug", seed=3),
    ]
    write_report(tmp_path / "report.html", rows, tables(rows), lambda r: splats, {})
    page = (tmp_path / "report.html").read_text()
    sliders = re.findall(r'<div class="slider".*?</label></div>', page)
    assert len(sliders) == page.count('type="range"') == 2 and page.count("a red duck, seed 0") == 2
    for text, (one, other) in zip(sliders, [(0, 1), (0, 3)], strict=True):
        assert text.count(f'<span class="r{one}"') == text.count(f'<span class="r{other}"') == 8
        assert "<label>" in text and "<span>cds</span>" in text
    assert "<span>vds&lt;</span>" in sliders[1] and "vds<" not in page
    assert page.count("data:image/webp") == len(rows)  # the sliders reuse the strips of the runs
    assert not re.search(EXTERNAL, page)


def test_report_shows_the_plot_of_a_run_if_there_is_one(tmp_path, splats):
    noise = np.random.default_rng(0).integers(0, 255, (500, 1000, 3), dtype=np.uint8)
    plots = {"cds": np.full((500, 1000, 3), 255, np.uint8), "sds": noise}
    plots["cds"][250, ::3] = (31, 95, 174)
    for method, pixels in plots.items():
        Image.fromarray(pixels).save(tmp_path / f"{method}.png")
    rows = [result(), result("sds"), result("vds")]
    write_report(
        tmp_path / "report.html",
        rows,
        tables(rows),
        lambda r: splats,
        {},
        lambda r: small_plot(tmp_path / f"{r.method}.png"),
    )
    page = (tmp_path / "report.html").read_text()
    assert page.count("<details>") == page.count("data:image/png;base64,") == 1
    assert 'aria-label="log of a red duck, cds, seed 0"' in page
    assert len(small_plot(tmp_path / "cds.png")) <= PLOT_BYTES
    assert small_plot(tmp_path / "sds.png") is None  # noise cannot be made small enough
    (tmp_path / "cut.png").write_bytes((tmp_path / "cds.png").read_bytes()[:200])
    assert small_plot(tmp_path / "cut.png") is None and small_plot(tmp_path / "none.png") is None


def test_a_strip_has_the_views_of_the_sliders():
    with pytest.raises(ValueError, match="a multiple of 8"):
        Strip(views=12)


@pytest.mark.parametrize("size", [Strip(), Strip(views=16, px=40)])
def test_strip_shows_views_all_around(splats, size):
    with Image.open(io.BytesIO(strip(splats, size))) as image:
        assert image.size == (size.views * size.px, size.px)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    half = size.views // 2
    front, back = (pixels[:, i * size.px : (i + 1) * size.px] for i in (0, half))
    assert abs(front - back).mean() > 2
