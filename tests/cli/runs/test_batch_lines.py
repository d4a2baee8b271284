"""What `gs3d batch` prints while it works."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from gs3d.batch.shown.index import Entry
from gs3d.batch.shown.tally import Tally
from gs3d.batch.workers.job import Event
from gs3d.cli.runs import batch_lines
from gs3d.cli.runs.batch_lines import Lines, Table


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(batch_lines.time, "monotonic", lambda: now[0])
    return now


def tally_of(**states):
    entries = {
        name: Entry(name, i, name, 0, state, progress=0.25, steps=30, pieces=7, seconds=60.0)
        for i, (name, state) in enumerate(states.items())
    }
    return Tally(len(entries), 0, 2, entries, dict.fromkeys(entries, 3.0), began=0.0)


def event(name, kind, **values):
    return Event(SimpleNamespace(row=SimpleNamespace(name=name)), kind, values)  # type: ignore


def test_table_of_running_rows_below_the_lines_of_those_that_ended(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    table = Table(console)
    tally = tally_of(red="done", duck="running", car="running", boat="waiting")
    table.update(event("duck", "step", step=10), tally)
    clock[0] += 4.0
    table.update(event("duck", "step", step=30), tally)
    table.update(event("red", "ended"), tally)
    table.close()
    said = console.file.getvalue()
    assert "1/4  red: done: 7 splats or triangles in 60 s, 30 steps; about 3 min left" in said
    assert " 25 %" in said and "5.0 it/s" in said and "duck" in said
    assert "1 done, 2 running, 1 waiting, 34.6 rows an hour; about 3 min left" in said
    # The table is removed at the end.
    assert said.rstrip().endswith("\x1b[2K")


def test_the_batch_goes_on_where_the_terminal_is_gone(clock, monkeypatch):
    def gone(*_, **__):
        raise OSError("no terminal")

    silenced = []
    monkeypatch.setattr(batch_lines, "silence", lambda: silenced.append(1))
    table = Table(Console(file=io.StringIO(), force_terminal=True, width=80))
    monkeypatch.setattr(table._live, "update", gone)
    tally = tally_of(duck="running")
    table.update(event("duck", "step", step=1), tally)
    table.update(event("duck", "step", step=2), tally)
    assert silenced == [1]


def test_plain_lines_where_nothing_ends(clock, capsys):
    lines, tally = Lines(), tally_of(red="done", duck="running")
    lines.update(event("duck", "step", step=1), tally)
    assert capsys.readouterr().out == ""
    clock[0] += 31.0
    lines.update(event("duck", "step", step=2), tally)
    assert capsys.readouterr().out == "1 of 2 done; duck 25 %; about 1 min left\n"
