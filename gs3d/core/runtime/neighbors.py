"""Fewer threads while other programs use the processor.

Threads that share the work of an operation wait for the slowest of them. Where another program
takes a processor from one, all wait, for milliseconds at each of hundreds of operations, and fewer
threads are faster. Which number is fastest depends on the machine, on its other programs, and on
the run, so it is measured: iterations themselves are the trials.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import torch

from gs3d.core.runtime import clock, threads
from gs3d.core.runtime.quota import cpu_quota

WAITING_SHARE = 0.08
"""Share of the time that a thread waits for a processor, from which other programs are to blame."""
LOOK_S = 1.0
"""Seconds between looks at that share."""
MORE_IDLE = 0.15
"""Other programs have ended if this many more processors are idle than after the last trial."""
SLOWER = 1.25
"""Others have begun if an iteration takes this many times what it took after the last trial."""
AGAIN_S = (4.0, 32.0)
"""Seconds until the next trial: after a change, and at most. It doubles from one to the other."""
RARELY_S = 300.0
"""The same while there are fewer threads than at first, and no program seems to have begun or
ended."""
ROUNDS, EACH = 2, 3
"""A trial has at most so many rounds, each with so many iterations of every choice. The first of
them does not count, since threads may have to start."""
CLOSE = 1.15
"""Only choices that take at most this many times what the fastest takes have another round."""
GAIN = 0.97
"""A choice has to take at most this share of the time of the one before."""
OF_THREAD = Path("/proc/thread-self/schedstat")
"""Of the thread that reads it: nanoseconds on a processor, and of waiting for one."""
OF_PROCESSORS = Path("/proc/stat")
"""Of each processor: its name, and ticks in which it had user programs, the same with less
priority, the system, and nothing to do."""


@dataclass(frozen=True)
class Choice:
    """Numbers of threads."""

    network: int
    """Of torch."""
    raster: int
    """Of the rasterizer, whose threads take their work piece by piece and so wait less."""

    def use(self) -> None:
        torch.set_num_threads(self.network)
        threads.use(self.raster)


def choices(most: int) -> list[Choice]:
    """`most` threads for both, then half of them again and again, for the network or for both."""
    found = [Choice(most, most)]
    while (network := found[-1].network // 2) >= 1:
        found += [Choice(network, most), Choice(network, network)]
    return found


@dataclass(frozen=True)
class Counts:
    """What the system has counted since some time before; None where it does not."""

    waited_s: float | None
    """Seconds that this thread has waited for a processor."""
    idle_s: float | None
    """Seconds that the processors for this process had nothing to do, summed."""

    @staticmethod
    def now() -> Counts:
        """Read them, for this thread and the processors that this process may use."""
        try:
            waited_s = int(OF_THREAD.read_text().split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            waited_s = None
        try:
            names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
            rows = [line.split() for line in OF_PROCESSORS.read_text().splitlines()]
            found = [int(row[4]) for row in rows if row and row[0] in names]
            # A container with a quota may not use what is idle.
            is_known = len(found) == len(names) and cpu_quota() is None
            idle_s = sum(found) / os.sysconf("SC_CLK_TCK") if is_known else None
        except (OSError, ValueError, IndexError, AttributeError):
            idle_s = None
        return Counts(waited_s, idle_s)


class Tuner:
    """Keeps the number of threads that is fastest at the moment."""

    def __init__(
        self,
        most: int,
        use: Callable[[Choice], None] = Choice.use,
        now: Callable[[], float] = clock.now,
        counts: Callable[[], Counts] = Counts.now,
    ):
        """`most` is the number of threads to begin with."""
        self._choices = choices(most)
        self._use, self._now, self._counts = use, now, counts
        self.best = self._choices[0]
        self._trial: dict[Choice, list[float]] = {}
        self._order: list[Choice] = []
        """Choices of the iterations that are left of a round of a trial."""
        self._rounds = 0
        """Rounds that are left after it."""
        self._last, self._wait_s = now(), AGAIN_S[0]
        """When the last trial ended, and seconds until the next one."""
        self._looked = (now(), counts())
        self._took: list[float] = []
        """Seconds of the iterations since the last look, without those of trials."""
        self._after: tuple[float, float] | None = None
        """Idle processors and seconds of an iteration at the first look after the last trial."""

    def took(self, seconds: float) -> None:
        """Tell that an iteration has ended, and how long it took."""
        if len(self._choices) == 1:
            return
        if self._order:
            choice = self._order.pop(0)
            self._trial[choice].append(seconds)
            if not self._order:
                self._end_round()
            self._use(self._order[0] if self._order else self.best)
            return
        self._took.append(seconds)
        if self._is_due():
            self._trial = {choice: [] for choice in self._choices}
            self._begin_round(self._choices, ROUNDS - 1)
            self._use(self._order[0])

    def _is_due(self) -> bool:
        """Whether another choice may be faster by now."""
        now = self._now()
        since, counted = self._looked
        if now - since < LOOK_S:
            return False
        counts, pace = self._counts(), statistics.median(self._took)
        self._looked, self._took = (now, counts), []

        def share(end: float | None, begin: float | None) -> float | None:
            return None if end is None or begin is None else (end - begin) / (now - since)

        if self.best == self._choices[0]:
            waiting = share(counts.waited_s, counted.waited_s)
            if waiting is not None and waiting < WAITING_SHARE:
                return False
        elif (idle := share(counts.idle_s, counted.idle_s)) is not None:
            self._after = self._after or (idle, pace)
            if idle < self._after[0] + MORE_IDLE and pace < SLOWER * self._after[1]:
                return now - self._last >= RARELY_S
        # Right after a trial that has changed nothing, the same programs are still there.
        return now - self._last >= self._wait_s

    def _begin_round(self, choices: list[Choice], rounds: int) -> None:
        self._order = [choice for choice in choices for _ in range(EACH)]
        self._rounds = rounds

    def _end_round(self) -> None:
        """Begin another round with the choices that are close, or take the fastest one."""
        medians = {
            choice: statistics.median(s for i, s in enumerate(found) if i % EACH)
            for choice, found in self._trial.items()
        }
        fastest = min(medians, key=lambda choice: medians[choice])
        close = [c for c in self._choices if medians[c] <= CLOSE * medians[fastest]]
        if self._rounds and len(close) > 1:
            self._begin_round(close, self._rounds - 1)
            return
        changes = fastest != self.best and medians[fastest] <= GAIN * medians[self.best]
        self.best = fastest if changes else self.best
        self._wait_s = AGAIN_S[0] if changes else min(2 * self._wait_s, AGAIN_S[1])
        self._last = self._now()
        self._looked, self._after = (self._last, self._counts()), None


@contextlib.contextmanager
def tuned() -> Generator[Callable[[float], None]]:
    """Tune the numbers of threads in the block. What it yields is to be called after each
    iteration with its seconds."""
    most = torch.get_num_threads()
    try:
        yield Tuner(most).took
    finally:
        torch.set_num_threads(most)
        threads.use(None)
