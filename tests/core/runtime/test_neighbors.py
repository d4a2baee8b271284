"""The numbers of threads follow what is fastest, on machines that are made up."""

import os

import pytest

from gs3d.core.runtime import neighbors
from gs3d.core.runtime.neighbors import WAITING_SHARE, Choice, Counts, Tuner, choices


class Machine:
    """Two processors. Other programs make threads that wait for each other slow."""

    def __init__(self, most=2, counts=True):
        self.now, self.waited, self.idle = 0.0, 0.0, 0.0
        self.programs, self.counts = 0, counts
        self.choice, self.used = choices(most)[0], []
        self.tuner = Tuner(most, self.use, lambda: self.now, self.counted)

    def use(self, choice):
        self.choice = choice
        self.used.append(choice)

    def counted(self):
        return Counts(self.waited, self.idle) if self.counts else Counts(None, None)

    def parts_s(self):
        """Seconds of the network and of the rasterizer in an iteration."""
        network = {2: 0.05 if not self.programs else 0.3, 1: 0.08}[self.choice.network]
        raster = {2: 0.05 if not self.programs else 0.07, 1: 0.09}[self.choice.raster]
        return network, raster

    def iteration_s(self):
        return sum(self.parts_s())

    def run(self, seconds):
        """How many iterations it made."""
        end, made = self.now + seconds, 0
        while self.now < end:
            seconds = self.iteration_s()
            self.now += seconds
            self.waited += seconds * (0.4 if self.programs and self.choice.network > 1 else 0.01)
            used = zip(self.parts_s(), (self.choice.network, self.choice.raster), strict=True)
            self.idle += sum(s * max(2 - n - self.programs, 0) for s, n in used)
            self.tuner.took(seconds)
            made += 1
        return made


def test_choices_are_halves_for_the_network_or_for_both():
    assert choices(1) == [Choice(1, 1)]
    assert choices(2) == [Choice(2, 2), Choice(1, 2), Choice(1, 1)]
    assert choices(6)[:3] == [Choice(6, 6), Choice(3, 6), Choice(3, 3)]
    assert choices(6)[3:] == [Choice(1, 6), Choice(1, 1)]


def test_alone_nothing_is_tried():
    machine = Machine()
    assert machine.run(300) >= 3000 and not machine.used


def test_one_thread_leaves_no_choice():
    machine = Machine(most=1)
    machine.programs = 1
    machine.run(60)
    assert not machine.used


@pytest.mark.parametrize("counts", [True, False])
def test_beside_a_program_the_network_has_one_thread_until_that_ends(counts):
    machine = Machine(counts=counts)
    machine.run(10)
    machine.programs = 1
    machine.run(20)
    assert machine.tuner.best == machine.choice == Choice(1, 2)
    # Trials become rare, and where idle processors are counted there are none: few of 120 s at
    # 0.15 s an iteration are lost.
    tried = len(machine.used)
    assert machine.run(120) > 0.9 * 120 / 0.15
    assert (len(machine.used) == tried) == counts
    machine.programs = 0
    machine.run(45)
    assert machine.tuner.best == machine.choice == Choice(2, 2)


def test_a_choice_that_is_hardly_faster_changes_nothing():
    machine = Machine(counts=False)
    machine.iteration_s = lambda: 0.1 if machine.choice == Choice(2, 2) else 0.098
    machine.run(60)
    assert machine.used and machine.tuner.best == machine.choice == Choice(2, 2)


def test_threads_that_wait_are_no_reason_for_trials_without_end():
    """Two threads stay the fastest beside a program that takes little."""
    machine = Machine()
    machine.programs = 1
    machine.iteration_s = lambda: 0.1 if machine.choice == Choice(2, 2) else 0.12
    assert WAITING_SHARE < 0.4
    assert machine.run(300) > 0.97 * 3000 and machine.tuner.best == Choice(2, 2)


def test_a_choice_that_is_far_behind_has_one_round():
    machine = Machine()
    machine.programs = 1
    machine.run(20)
    assert machine.used.count(Choice(2, 2)) == 3
    assert machine.used.count(Choice(1, 1)) == 6


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Made-up counters of a process that may use two of three processors."""
    monkeypatch.setattr(neighbors, "OF_THREAD", tmp_path / "thread")
    monkeypatch.setattr(neighbors, "OF_PROCESSORS", tmp_path / "processors")
    monkeypatch.setattr(neighbors, "cpu_quota", lambda: None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_CLK_TCK": 100}.get)
    (tmp_path / "thread").write_text("9000000000 1500000000 7\n")
    rows = ["cpu 3 3 3 999 3", *(f"cpu{i} 7 0 1 {idle} 0" for i, idle in enumerate((120, 50, 30)))]
    (tmp_path / "processors").write_text("\n".join([*rows, "", "intr 1 2 3"]))
    return tmp_path


def test_counts_are_of_the_own_thread_and_processors(files):
    assert Counts.now() == Counts(1.5, 1.5)


def test_idle_processors_that_are_not_listed_or_not_to_be_had(files, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 7})
    assert Counts.now() == Counts(1.5, None)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2})
    monkeypatch.setattr(neighbors, "cpu_quota", lambda: 2.0)
    assert Counts.now() == Counts(1.5, None)


def test_counts_that_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setattr(neighbors, "OF_THREAD", tmp_path / "none")
    monkeypatch.setattr(neighbors, "OF_PROCESSORS", tmp_path / "none")
    assert Counts.now() == Counts(None, None)


def raster_slow_beside_two(machine):
    """Two threads of the rasterizer are fast beside one program, and slow beside two."""
    if machine.programs > 1:
        return 0.16, 0.36 if machine.choice.raster > 1 else 0.1
    return Machine.parts_s(machine)


def mostly_raster(machine):
    """Little is idle if the network has one thread and nothing else runs."""
    network = {2: 0.02 if not machine.programs else 0.3, 1: 0.035}[machine.choice.network]
    return network, {2: 0.08, 1: 0.16}[machine.choice.raster]


@pytest.mark.parametrize(
    ("parts_s", "then", "best"),
    [(raster_slow_beside_two, 2, Choice(1, 1)), (mostly_raster, 0, Choice(2, 2))],
)
def test_programs_that_begin_or_end_are_noticed(parts_s, then, best):
    machine = Machine()
    machine.parts_s = lambda: parts_s(machine)
    machine.programs = 1
    machine.run(20)
    assert machine.tuner.best == Choice(1, 2)
    machine.programs = then
    machine.run(45)
    assert machine.tuner.best == best
