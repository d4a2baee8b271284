"""rows.js and the page that reads it: hostile prompts stay text."""

import json
import re

from gs3d.batch.shown.gallery import script_json, write_page, write_rows
from gs3d.batch.shown.index import Entry

HOSTILE = '</script><script>alert(1)</script> \u2028 & "quotes" \''


def test_hostile_text_cannot_end_a_script():
    text = script_json([{"prompt": HOSTILE}])
    assert not re.search(r"[<>&\u2028\u2029]", text)
    assert json.loads(text) == [{"prompt": HOSTILE}]


def test_half_a_character_does_not_break_the_file(tmp_path):
    write_rows(tmp_path, [Entry("a", 0, "a \udcff cat", 0)], {})
    assert "a ? cat" in (tmp_path / "rows.js").read_text("utf-8")


def test_the_page_puts_nothing_into_html(tmp_path):
    write_page(tmp_path)
    page = (tmp_path / "gallery.html").read_text("utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)
    assert not re.search(r"https?://", page)  # it works without a network


def test_rows_have_what_the_page_shows(tmp_path):
    entry = Entry("a-cat-s1", 3, "a cat", 1, "failed", "no room", seconds=3.4)
    write_rows(tmp_path, [entry], {"a-cat-s1": '{"prompt": "a cat"}'})
    text = (tmp_path / "rows.js").read_text("utf-8")
    (row,) = json.loads(text.removeprefix("window.rows = ").rstrip(";\n"))
    assert row == {
        "name": "a-cat-s1",
        "number": 3,
        "prompt": "a cat",
        "seed": 1,
        "state": "failed",
        "reason": "no room",
        "seconds": 3,
        "pieces": 0,
        "line": '{"prompt": "a cat"}',
    }
