"""Fewer threads while other programs use the processor.

Threads that share the work of an operation wait for the slowest of them. Where another program
takes a processor from one, all wait, for milliseconds at each of hundreds of operations, and fewer
threads are faster. Which number is fastest depends on the machine, on its other programs, and on
the run, so it is measured: iterations themselves are the trials.
"""

import contextlib
import statistics
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import torch

from gs3d.core.runtime import clock, threads

WAITING_SHARE = 0.08
"""Share of the time that a thread waits for a processor, from which other programs are to blame."""
LOOK_S = 1.0
"""Seconds between looks at that share."""
AGAIN_S = (4.0, 32.0)
"""Seconds until the next trial while there are fewer threads than at first: after a change, and at
most. It doubles from one to the other, since nobody tells that the other programs have ended."""
ROUNDS, EACH = 2, 3
"""A trial has so many rounds, each with so many iterations of every choice. The first of them does
not count, since threads may have to start."""
GAIN = 0.97
"""A choice has to take at most this share of the time of the one before."""
STATISTICS = Path("/proc/thread-self/schedstat")
"""Of the thread that reads it: nanoseconds on a processor, and of waiting for one."""


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


def waited_s() -> float | None:
    """Seconds that this thread has waited for a processor; None where nobody counts them."""
    try:
        return int(STATISTICS.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return None


class Tuner:
    """Keeps the number of threads that is fastest at the moment."""

    def __init__(
        self,
        most: int,
        use: Callable[[Choice], None] = Choice.use,
        now: Callable[[], float] = clock.now,
        waited_s: Callable[[], float | None] = waited_s,
    ):
        """`most` is the number of threads to begin with."""
        self._choices = choices(most)
        self._use, self._now, self._waited_s = use, now, waited_s
        self.best = self._choices[0]
        self._trial: dict[Choice, list[float]] = {}
        self._order: list[Choice] = []
        """Choices of the iterations that are left of a trial."""
        self._last, self._wait_s = now(), AGAIN_S[0]
        """When the last trial ended, and seconds until the next one."""
        self._looked = (now(), waited_s())

    def took(self, seconds: float) -> None:
        """Tell that an iteration has ended, and how long it took."""
        if self._order:
            choice = self._order.pop(0)
            self._trial[choice].append(seconds)
            if not self._order:
                self._decide()
            self._use(self._order[0] if self._order else self.best)
        elif len(self._choices) > 1 and self._is_due():
            self._trial = {choice: [] for choice in self._choices}
            once = [choice for choice in self._choices for _ in range(EACH)]
            self._order = once * ROUNDS
            self._use(self._order[0])

    def _is_due(self) -> bool:
        """Whether another choice may be faster by now."""
        now = self._now()
        if self.best != self._choices[0]:
            return now - self._last >= self._wait_s
        looked, before = self._looked
        if now - looked < LOOK_S:
            return False
        waited = self._waited_s()
        self._looked = (now, waited)
        if waited is None or before is None:
            return now - self._last >= self._wait_s
        share = (waited - before) / (now - looked)
        # Right after a trial that has changed nothing, the same programs are still there.
        return share >= WAITING_SHARE and now - self._last >= self._wait_s

    def _decide(self) -> None:
        """Take the fastest choice of a trial."""
        medians = {
            choice: statistics.median(s for i, s in enumerate(found) if i % EACH)
            for choice, found in self._trial.items()
        }
        fastest = min(medians, key=lambda choice: medians[choice])
        changes = fastest != self.best and medians[fastest] <= GAIN * medians[self.best]
        self.best = fastest if changes else self.best
        self._wait_s = AGAIN_S[0] if changes else min(2 * self._wait_s, AGAIN_S[1])
        self._last = self._now()
        self._looked = (self._last, self._waited_s())


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
