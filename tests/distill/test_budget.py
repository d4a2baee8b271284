"""Progress, time and shares of a `Budget`, in steps and in seconds."""

import time

import pytest

from gs3d.distill.budget import Budget, process_age_s


def test_progress_by_steps_is_exact():
    budget = Budget(steps=4)
    budget.begin()
    assert [budget.progress(s) for s in range(5)] == [0, 0.25, 0.5, 0.75, 1]


def test_seconds_include_loading_and_reserve_time_for_the_export(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = Budget(seconds=60, started=90.0, export_time_s=10)  # loading took 10 s
    budget.begin()
    assert budget.progress(0) == 0
    now[0] = 120.0  # half of the 40 s between 100 and 90 + 60 − 10
    assert budget.progress(5) == pytest.approx(0.5)
    now[0] = 140.0
    assert budget.progress(9) == 1
    assert budget.elapsed_s() == 50


def test_excluded_time_does_not_count(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = Budget(seconds=60, started=90.0, export_time_s=10)
    budget.begin()
    now[0] = 120.0
    before = budget.progress(5), budget.elapsed_s()
    now[0] = 1120.0
    budget.exclude(1000.0)
    assert (budget.progress(5), budget.elapsed_s()) == pytest.approx(before)


def test_resumed_run_continues_from_its_progress_with_the_remaining_time(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = Budget(seconds=60, started=0.0, spent_s=30.0, export_time_s=5)
    budget.begin(progress_so_far=0.5)
    assert budget.progress(0) == pytest.approx(0.5)
    now[0] = 25.0
    assert budget.progress(0) == 1


def test_more_time_for_a_resumed_run_reduces_its_progress(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 10.0)
    budget = Budget(seconds=125, started=10.0, spent_s=60.0, export_time_s=5)
    budget.begin(progress_so_far=1.0)
    assert budget.progress(0) == pytest.approx(0.5)


def test_share_of_an_iteration_is_exact_by_steps_and_not_negative_by_seconds():
    assert Budget(steps=8).share(0.5, 0.999) == 0.125
    assert Budget(seconds=60).share(0.5, 0.25) == 0.25
    assert Budget(seconds=60).share(0.5, 0.999) == 0.0


def test_run_without_time_left_is_over_at_once(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    budget = Budget(seconds=60, started=0.0, export_time_s=5)
    budget.begin()
    time.monotonic = lambda: 100.1  # restored by monkeypatch
    assert budget.progress(0) == 1


def test_process_age_increases_with_time():
    first = process_age_s()
    time.sleep(0.05)
    assert 0.02 <= process_age_s() - first <= 2 and first > 0
