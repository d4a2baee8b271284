"""Columns of report.html: their order when sorted, and what their headers say."""

import re

from gs3d.evaluation.report_html import MISSING, _table
from tests.evaluation.test_report import result, splats, tables, write_report

__all__ = ["splats"]


def test_missing_values_have_no_sort_key_and_are_no_words(tmp_path, splats):
    rows = [result(janus=None), result("sds"), result("sds", kind="mug", janus=0.5)]
    write_report(tmp_path / "report.html", rows, tables(rows), lambda r: splats, {})
    page = (tmp_path / "report.html").read_text()
    cells = re.findall(rf"<td[^>]*>{MISSING}</td>", page)
    assert len(cells) >= 3  # of the methods, the kinds and the runs
    assert set(cells) == {f'<td data-by="">{MISSING}</td>'}


def test_headers_of_metrics_say_which_values_are_better():
    page = _table(["method", "Janus %", "kind right %", "grain /255", "n"], [])
    said = re.findall(r'<th scope="col"(?: title="([^"]*)")?>', page)
    assert said == ["", "lower is better", "higher is better", "near zero is better", ""]
