"""Budget of a run: a number of steps, or wall-clock minutes from process start to the last file."""

import os
import time
from dataclasses import dataclass

from gs3d.core.runtime import clock

_imported = time.monotonic()


def process_age_s() -> float:
    """Seconds since this process started. Without /proc, seconds since this module was imported."""
    try:
        with open("/proc/self/stat") as f:
            started_ticks = float(f.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic() - _imported


@dataclass
class Budget:
    """Measures the progress of a run. Exactly one of `steps` and `seconds` is given.

    With `seconds`, progress is the elapsed fraction of the time between the first iteration and the
    start of the export. Schedules follow progress, so they adapt to the speed of the machine. Time
    in which the process was stopped does not count (`core.runtime.clock`).
    """

    steps: int | None = None
    seconds: float | None = None
    """Wall-clock time from `started` until the last file is on disk."""
    spent_s: float = 0.0
    """Seconds that earlier processes spent on this run."""
    started: float = 0.0
    """clock.now() at the start of the process, or of the call from Python."""
    export_time_s: float = 5.0
    """Seconds reserved for the export at the end."""
    first: float = 0.0
    """Progress with which a new run begins (`stages.RunConfig.begin`)."""
    _first_iteration: float = 0.0
    """clock.now() just before the first iteration of this process."""
    _progress_then: float = 0.0

    def begin(self, progress_so_far: float = 0.0) -> None:
        """Start measuring progress, just before the first iteration.

        The time before this call (imports, loading weights, compiling) does not count as progress.

        If a resumed run gets more seconds than before, its progress falls back to
        the value that the time spent so far has in the longer run. A resumed run with more steps
        does the same. The added budget then covers a range of the schedules, not only their end.
        """
        if self.seconds is not None:
            share = self.spent_s / max(self.seconds - self.export_time_s, 1e-6)
            progress_so_far = min(progress_so_far, self._after(share))
        self._first_iteration = clock.now()
        self._progress_then = max(progress_so_far, self.first)

    def _after(self, share: float) -> float:
        """Progress after this share of the budget."""
        return self.first + (1 - self.first) * share

    def over(self) -> bool:
        """Return True if no time is left for another iteration. Always False with `steps`."""
        return self.seconds is not None and self.elapsed_s() >= self.seconds - self.export_time_s

    def exclude(self, seconds: float) -> None:
        """Do not count the last `seconds`, in which the run was paused."""
        self.started += seconds
        self._first_iteration += seconds

    def elapsed_s(self) -> float:
        """Seconds spent on this run so far, by this process and earlier ones."""
        return self.spent_s + clock.now() - self.started

    def progress(self, step: int) -> float:
        """Progress of the run in [0, 1] after `step` iterations. At 1 the run is over."""
        if self.steps is not None:
            return min(self._after(step / self.steps), 1.0)
        assert self.seconds is not None
        export_starts = self.started + self.seconds - self.spent_s - self.export_time_s
        span = max(export_starts - self._first_iteration, 1e-6)
        share = (clock.now() - self._first_iteration) / span
        return min(self._progress_then + (1 - self._progress_then) * share, 1.0)

    def share(self, progress: float, before: float, particles: int = 1) -> float:
        """Fraction of the run that one iteration of a particle covers; never negative.

        The iteration runs at `progress` and the previous one of this particle ran at `before`. With
        `seconds`, the fraction is their difference, so the first iteration after a start covers
        nothing. With `steps`, it is that of one iteration for each of the `particles`.
        """
        if self.steps is not None:
            return particles * (1 - self.first) / self.steps
        return max(progress - before, 0.0)
