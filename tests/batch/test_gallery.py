"""rows.js and the page that reads it: hostile prompts stay text; and how often it is written."""

import json
import re
import time
from dataclasses import replace

from gs3d.batch.shown import files, index
from gs3d.batch.shown.files import Shown
from gs3d.batch.shown.gallery import script_json, write_page, write_rows
from gs3d.batch.shown.index import Entry
from gs3d.batch.shown.tally import Tally

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


def test_a_thousand_events_open_the_index_a_few_times(tmp_path, monkeypatch):
    """Opened for each, it took twenty milliseconds of every event."""
    entries = {f"row-{i}": Entry(f"row-{i}", i, "a cat", i) for i in range(1000)}
    tally = Tally(1000, 0, 1, entries)
    now, times = 0.0, []
    real = index.put
    monkeypatch.setattr(files.time, "monotonic", lambda: now)
    monkeypatch.setattr(index, "put", lambda db, some: (times.append(len(some)), real(db, some)))
    shown = Shown(tmp_path, {}, lambda line: None)
    shown.all(tally)
    for number, entry in enumerate(list(entries.values())):
        now = number / 500
        tally.put(replace(entry, state="done", steps=number))
        shown.one(entries[entry.name], tally)
    assert len(times) <= 5  # 1,000 events in two seconds
    now += files.INDEX_EVERY_S
    tally.put(replace(entries["row-0"], steps=7))
    shown.one(entries["row-0"], tally)
    assert index.read(tmp_path) == stamped(entries.values(), index.read(tmp_path))
    assert sum(times) == 1000 + 1  # each change once
    shown.close(tally)


def test_the_last_change_is_written_though_no_event_follows(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "INDEX_EVERY_S", 0.2)
    monkeypatch.setattr(files, "GALLERY_EVERY_S", 0.2)
    entries = {name: Entry(name, i, "a cat", i) for i, name in enumerate("ab")}
    tally = Tally(2, 0, 1, entries)
    shown = Shown(tmp_path, {}, lambda line: None)
    shown.all(tally)
    for state, name in (("failed", "a"), ("running", "b")):
        tally.put(replace(entries[name], state=state, reason="why"))
        shown.one(tally.entries[name], tally)
    deadline = time.monotonic() + 30
    while [e.state for e in index.read(tmp_path)] != ["failed", "running"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while '"running"' not in (tmp_path / "rows.js").read_text("utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    shown.close(tally)


def stamped(entries, as_read):
    """Entries with the times at which the index wrote them."""
    return [replace(e, changed=r.changed) for e, r in zip(entries, as_read, strict=True)]
