"""Which runs of a large evaluation its report and sheet show."""

import dataclasses
import re

from gs3d.evaluation import results as module
from gs3d.evaluation.report import tables
from gs3d.evaluation.results import pictured, write_pictures
from tests.evaluation.test_report import result, splats

__all__ = ["splats"]

METHODS = [f"m{i}" for i in range(12)]


def runs(prompts, seeds=(0,)):
    return [
        dataclasses.replace(result(method, seed=seed), prompt=f"prompt {i}")
        for i in range(prompts)
        for method in METHODS
        for seed in seeds
    ]


def test_a_small_evaluation_shows_all():
    rows = runs(4, seeds=(5, 6))
    assert pictured(rows) == rows


def test_a_large_one_shows_all_methods_of_prompts_spread_over_the_list():
    shown = pictured(runs(24, seeds=(1, 2)))
    assert len(shown) == 96 and {r.seed for r in shown} == {1}
    assert list(dict.fromkeys(r.prompt for r in shown)) == [f"prompt {i}" for i in range(0, 24, 3)]
    assert [r.method for r in shown[:12]] == METHODS


def test_more_methods_than_runs_to_show_shows_one_prompt(monkeypatch):
    monkeypatch.setattr(module, "MOST_PICTURED", 5)
    assert [r.prompt for r in pictured(runs(3))] == ["prompt 0"] * 12


def test_report_of_a_large_evaluation_says_what_it_leaves_out(tmp_path, monkeypatch, splats):
    monkeypatch.setattr(module, "MOST_PICTURED", 24)
    monkeypatch.setattr(module, "_asset", lambda out, r: splats)
    rows = runs(4)
    write_pictures(tmp_path, {"budget": "--steps 1"}, rows, tables(rows))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count('class="turn r') == 24 and "24 of 48; evaluation.json has the metrics" in page
    assert len(re.findall(">m0 minus m", page)) == 11
