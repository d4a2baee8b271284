"""Tables, sheets and the report of graded runs."""

import dataclasses
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
    write_result_sheet,
)
from gs3d.evaluation.report_html import PLOT_BYTES, TURNS, VIEW_PX, small_plot, write_report
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
    kinds=("duck",) * 8,
    colors=("red",) * 8,
    views=("front",) * 8,
)


KINDS8 = ("duck", "mug", "car", "tree", "table", "house", "lamp", "chair")


def result(
    method="cds",
    kind="duck",
    seed=0,
    seconds=10.0,
    pieces=100,
    split="seen",
    outcome="finished",
    **marks,
):
    grade = dataclasses.replace(GRADE, kinds=(kind,) * 8, **marks)
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


def test_the_interval_holds_the_mean_and_shrinks_with_more_runs():
    few, many = bootstrap([0.0, 1.0] * 5), bootstrap([0.0, 1.0] * 100)
    assert few[0] == many[0] == 0.5
    assert few[1] < many[1] < 0.5 < many[2] < few[2]
    # 200 fair coins: the mean has a standard deviation of 0.5 / √200
    assert many[2] - many[1] == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(200), rel=0.1)
    assert bootstrap([1.0, 1.0]) == (1, 1, 1) and bootstrap([0.0, 1.0] * 5) == few


def test_more_seeds_of_a_prompt_do_not_pass_for_more_prompts():
    prompts = list(zip("abcdef", (0.0, 1.0, 1.0, 0.0, 1.0, 0.0), strict=True))
    assert interval(prompts) == interval(prompts * 5)
    assert (
        interval(prompts)["prompts"] == 6
        and interval(prompts)["low"] < 0.5 < interval(prompts)["high"]
    )


def test_few_prompts_have_a_mean_and_no_interval():
    assert interval([("a", 1.0), ("b", 0.0), ("c", None)] * 9) == {
        "mean": 0.5,
        "low": None,
        "high": None,
        "prompts": 2,
    }
    assert interval([("a", None)]) is None and interval([]) is None


def test_a_summary_leaves_out_what_has_no_answer():
    s = summary(
        [
            result(kind_right=1.0, janus=None),
            result(kind="mug", kind_right=0.5, janus=0.25, seconds=30, pieces=300),
        ]
    )
    assert s["kind_right"]["mean"] == 0.75 and s["janus"]["mean"] == 0.25
    assert s["seconds"] == 20 and s["pieces"] == 200 and s["memory_mb"] == 500 and s["n"] == 2
    assert summary([result(janus=None)])["janus"] is None


def test_differences_are_of_the_same_prompt_and_seed():
    rows = [
        result(kind_right=1.0),
        result("sds", kind_right=0.5),
        result(kind="mug", kind_right=0.75),
        result("sds", "mug", kind_right=0.5),
    ]
    rows += [
        result(kind="car", kind_right=0.0),
        result("sds", seed=1, kind_right=0.0),
    ]  # without a partner
    apart = difference(rows, "cds", "sds")
    assert apart["n"] == 2 and apart["kind_right"]["mean"] == 0.375
    many = [
        result(m, kind, kind_right=1.0 if m == "cds" else i / 8)
        for i, kind in enumerate(KINDS8)
        for m in ("cds", "sds")
    ]
    apart = difference(many, "cds", "sds")["kind_right"]
    assert (
        apart["mean"] == pytest.approx(9 / 16, abs=1e-4)
        and 0.25 < apart["low"] < 9 / 16 < apart["high"] < 0.9
    )


def test_the_tables_have_a_row_for_each_method_split_and_kind():
    rows = [
        result(),
        result("sds", kind_right=0.5),
        result(kind="mug", janus=None, split="unseen"),
        result("sds", "mug", janus=None, split="unseen"),
    ]
    made = tables(rows)
    assert list(made) == ["Methods", "Differences", "Seen and unseen in training", "Kinds"]
    assert [row[:2] for row in made["Methods"]] == [
        ["method", "kind right %"],
        ["cds", "100"],
        ["sds", "75"],
    ]
    assert made["Differences"][1][:2] == ["cds minus sds", "+25"]
    assert [row[:2] for row in made["Kinds"][1:]] == [
        ["duck", "cds"],
        ["duck", "sds"],
        ["mug", "cds"],
        ["mug", "sds"],
    ]
    assert [row[0] for row in made["Seen and unseen in training"][1:]] == [
        "seen",
        "seen",
        "unseen",
        "unseen",
    ]
    assert all(len({len(row) for row in table}) == 1 for table in made.values())
    lines = markdown(rows).splitlines()
    assert (
        lines[0].startswith("| method | kind right % |")
        and lines[1].startswith("| --- |")
        and lines[2].startswith("| cds | 100 |")
    )
    chamfer = made["Methods"][0].index("Chamfer ×100")
    assert made["Methods"][1][chamfer] == "6.1"
    many = tables(
        [
            result(kind=kind, kind_right=i / 8, saturation_bias=-0.001)
            for i, kind in enumerate(KINDS8)
        ]
    )["Methods"]
    assert (
        re.fullmatch(r"44 \(\d\d–\d\d\)", many[1][1])
        and many[1][many[0].index("saturation bias %")] == "0 (0 to 0)"
    )


def test_runs_that_ended_early_are_counted():
    rows = tables([result(), result(kind="mug", outcome="diverged")])["Methods"]
    assert rows[1][-1] == "2 (1 ended early)"


def test_a_mark_that_no_run_has_has_no_column():
    assert "Janus %" not in tables([result(janus=None)])["Methods"][0]


def test_results_survive_json():
    results = [result(), result("sds", "mug", janus=None)]
    assert [Result.of(tree) for tree in json.loads(json.dumps(to_json(results)))] == results


@pytest.fixture(scope="module")
def splats():
    return reference_splats(sample(np.random.default_rng(0), "duck", "red").parts, size_px=32)


def test_the_sheet_has_a_row_a_result_and_green_and_red_bars(tmp_path, splats):
    rows = [result(), dataclasses.replace(result("sds"), kind="mug")]
    write_result_sheet(tmp_path / "sheet.png", rows, lambda r: splats, cell_px=64)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape == (128, 232 + 8 * 64, 3)
    assert (pixels[62, 232::64] @ (-1, 1, 0) > 50).all() and (
        pixels[126, 232::64] @ (1, -1, 0) > 50
    ).all()
    assert (pixels[:60, :232] < 128).any()  # the text


def test_the_report_stands_alone_and_escapes_what_it_is_given(tmp_path, splats):
    rows = [dataclasses.replace(result(), prompt='a "red" <duck>'), result("sds", kind="mug")]
    write_report(
        tmp_path / "report.html", rows, lambda r: splats, {"budget": "--steps 1", "prior": "<x>"}
    )
    page = (tmp_path / "report.html").read_text()
    assert "{{" not in page and page.rstrip().endswith("</html>")
    assert "<duck>" not in page and "a &quot;red&quot; &lt;duck&gt;" in page and "<x>" not in page
    assert not re.search(r"""(src|href)\s*=|@import|url\((?!data:)""", page)  # nothing is fetched
    assert page.count('class="turn r') == page.count("data:image/webp") == 2
    assert (
        'class="slider"' not in page and "<details>" not in page
    )  # no two runs of one prompt, and no plot
    head, *body = re.findall(r"<tr>.*?</tr>", page[page.index("<h2>Runs") :])
    assert head.count("<th") == body[0].count("<td") == body[1].count("<td")


def test_the_report_has_a_slider_where_two_methods_made_the_same_prompt_and_seed(tmp_path, splats):
    rows = [
        result(),
        result("sds"),
        result("sds", seed=1),
        result("vds<"),
        result(kind="mug"),
        result("vds<", kind="mug", seed=3),
    ]
    write_report(tmp_path / "report.html", rows, lambda r: splats, {})
    page = (tmp_path / "report.html").read_text()
    sliders = re.findall(r'<div class="slider".*?</label></div>', page)
    assert len(sliders) == page.count('type="range"') == 2 and page.count("a red duck, seed 0") == 2
    for text, (one, other) in zip(sliders, [(0, 1), (0, 3)], strict=True):
        assert text.count(f'<span class="r{one}"') == text.count(f'<span class="r{other}"') == 8
        assert "<label>" in text and "<span>cds</span>" in text
    assert "<span>vds&lt;</span>" in sliders[1] and "vds<" not in page
    assert page.count("data:image/webp") == len(
        rows
    )  # a slider shows the pictures that are there already
    assert not re.search(r"""(src|href)\s*=|@import|url\((?!data:)""", page)


def test_the_report_shows_the_plot_of_a_run_with_its_row_if_there_is_one(tmp_path, splats):
    noise = np.random.default_rng(0).integers(0, 255, (500, 1000, 3), dtype=np.uint8)
    plots = {"cds": np.full((500, 1000, 3), 255, np.uint8), "sds": noise}
    plots["cds"][250, ::3] = (31, 95, 174)
    for method, pixels in plots.items():
        Image.fromarray(pixels).save(tmp_path / f"{method}.png")
    rows = [result(), result("sds"), result("vds")]
    write_report(
        tmp_path / "report.html",
        rows,
        lambda r: splats,
        {},
        lambda r: small_plot(tmp_path / f"{r.method}.png"),
    )
    page = (tmp_path / "report.html").read_text()
    assert (
        page.count("<details>") == page.count("data:image/png;base64,") == 1
        and 'aria-label="log of a red duck, cds, seed 0"' in page
    )
    assert len(small_plot(tmp_path / "cds.png")) <= PLOT_BYTES
    assert small_plot(tmp_path / "sds.png") is None  # noise cannot be made small enough
    (tmp_path / "cut.png").write_bytes((tmp_path / "cds.png").read_bytes()[:200])
    assert small_plot(tmp_path / "cut.png") is None and small_plot(tmp_path / "none.png") is None


def test_the_turning_picture_is_a_strip_of_views(splats):
    import io

    from gs3d.evaluation.report_html import strip

    with Image.open(io.BytesIO(strip(splats))) as picture:
        assert picture.size == (TURNS * VIEW_PX, VIEW_PX)
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    front, back = pixels[:, :VIEW_PX], pixels[:, 12 * VIEW_PX : 13 * VIEW_PX]
    assert abs(front - back).mean() > 2
