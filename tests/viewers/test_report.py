"""report.html in a real browser, opened as a file: a click on a column header sorts the table."""

import dataclasses
import os

import numpy as np
import pytest

from gs3d.evaluation.reference import reference_splats
from gs3d.evaluation.report import tables
from gs3d.evaluation.report_html import write_report
from gs3d.world.sample import sample
from tests.evaluation.test_report import result
from tests.viewers.devtools import opened

pytestmark = pytest.mark.skipif(
    not os.environ.get("GS3D_TEST_VIEWERS"), reason="needs Chromium and viser: make test-viewers"
)
RUNS = "[...document.querySelectorAll('table')].at(-1)"
"""The table of the runs."""


def test_tables_are_sorted_by_a_click_on_a_column_header(tmp_path):
    splats = reference_splats(sample(np.random.default_rng(0), "duck", "red").parts, size_px=32)
    rows = [
        result(kind=kind, seed=seed, chamfer=chamfer)
        for kind, seed, chamfer in (("duck", 10, 0.2), ("mug", 9, None), ("car", 100, 0.05))
    ]
    rows = [dataclasses.replace(row, prompt=f"a {row.kind}") for row in rows]
    path = tmp_path / "report.html"
    write_report(path, rows, tables(rows), lambda r: splats, {})
    with opened(path.as_uri(), 900, 600, tmp_path) as page:

        def column(title: str) -> list[str]:
            """The cells of a column of the runs, by the text before a line break."""
            heads = f"[...{RUNS}.tHead.rows[0].cells].map((head) => head.textContent)"
            cell = f"row.cells[{heads}.indexOf({title!r})].innerText.split('\\n')[0]"
            return page.value(f"[...{RUNS}.tBodies[0].rows].map((row) => {cell})")

        def click(title: str) -> str:
            """Click a header; the way in which it says that it is sorted."""
            head = f"[...{RUNS}.tHead.rows[0].cells].find((h) => h.textContent === {title!r})"
            return page.value(f"{head}.firstChild.click(), {head}.getAttribute('aria-sort')")

        page.until(lambda: page.value("document.readyState") == "complete", "no page")
        assert column("seed") == ["10", "9", "100"]
        assert click("seed") == "descending" and column("seed") == ["100", "10", "9"]
        assert click("seed") == "ascending" and column("seed") == ["9", "10", "100"]
        # A cell without a value is last either way.
        click("Chamfer ×100")
        assert column("Chamfer ×100") == ["20.0", "5.0", "–"]
        click("Chamfer ×100")
        assert column("Chamfer ×100") == ["5.0", "20.0", "–"]
        click("prompt")
        assert column("prompt") == ["a mug", "a duck", "a car"]
        assert not page.errors
