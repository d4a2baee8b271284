"""Rows by what became of them, counted as they change; and how often they tell of steps."""

import math
import random
from typing import get_args

import pytest

from gs3d.batch.shown.index import Entry, State
from gs3d.batch.shown.tally import Tally
from gs3d.batch.workers.job import seldom


@pytest.mark.parametrize("minutes", [3.0, math.inf])
def test_counts_follow_each_change(minutes):
    chance = random.Random(0)
    entries = {f"row-{i}": Entry(f"row-{i}", i, "a cat", i) for i in range(20)}
    tally = Tally(20, 0, 2, entries, {**dict.fromkeys(entries, 3.0), "row-0": minutes})
    for _ in range(500):
        name = chance.choice(list(entries))
        state = chance.choice(get_args(State))
        tally.put(Entry(name, 0, "a cat", 0, state, progress=chance.random()))
        now = tally.entries.values()
        for states in [(state,) for state in get_args(State)] + [("done", "failed")]:
            assert tally.count(*states) == sum(e.state in states for e in now)
        left = [e for e in now if e.state in ("waiting", "running")]
        if math.isfinite(sum(tally.minutes[e.name] for e in left)):
            seconds = sum((1 - e.progress) * 60 * tally.minutes[e.name] for e in left)
            assert tally.seconds_left == pytest.approx(seconds / 2)


def test_rows_by_steps_are_guessed_from_those_that_ended(monkeypatch):
    entries = {name: Entry(name, i, "a cat", i) for i, name in enumerate("abc")}
    tally = Tally(3, 0, 1, entries, dict.fromkeys(entries, math.inf), began=100.0)
    assert tally.seconds_left is None
    monkeypatch.setattr("gs3d.batch.shown.tally.time.monotonic", lambda: 110.0)
    tally.put(Entry("a", 0, "a cat", 0, "done"))
    assert tally.seconds_left == pytest.approx(20.0)


def test_a_row_tells_of_some_steps_and_of_all_else(monkeypatch):
    now, told = 100.0, []
    monkeypatch.setattr("gs3d.batch.workers.job.time.monotonic", lambda: now)
    send = seldom(told.append, 4.0)
    for second in range(10):
        now = 100.0 + second
        send({"event": "step", "step": second})
    send({"event": "warning", "text": "late"})
    assert [event.get("step", "warning") for event in told] == [0, 4, 8, "warning"]
