"""The clock of a run: a number of steps, or minutes from the start of the process to files on disk."""

import os
import time
from dataclasses import dataclass

_imported = time.monotonic()


def process_age_s() -> float:
    """Seconds since this process began; where the system does not tell, since gs3d's training room was imported."""
    try:
        with open("/proc/self/stat") as f:
            started_ticks = float(f.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic() - _imported


@dataclass
class Budget:
    """How far a run is. Exactly one of `steps` and `seconds` is given.

    In seconds, progress is the share of the time between the first iteration and the moment export must begin. Schedules follow
    progress, so they fit whatever speed the machine has.
    """

    steps: int | None = None
    seconds: float | None = None
    """Wall clock from `started` to the last file on disk."""
    spent_s: float = 0.0
    """Time that earlier processes gave to this run."""
    started: float = 0.0
    """time.monotonic() at the start of the process (or of the call, from Python)."""
    export_time_s: float = 5.0
    """Kept for the export at the end."""
    _first: float = 0.0
    _progress_then: float = 0.0

    def begin(self, progress_so_far: float = 0.0) -> None:
        """The first iteration is about to run; what came before it (imports, weights, compiling) is not progress.

        A run resumed with more seconds than it was started with steps back to where that much time would have brought it, as
        one with more steps does: what was added is spent on schedules, not on their last value.
        """
        if self.seconds is not None:
            progress_so_far = min(
                progress_so_far, self.spent_s / max(self.seconds - self.export_time_s, 1e-6)
            )
        self._first, self._progress_then = time.monotonic(), progress_so_far

    def over(self) -> bool:
        """Whether nothing is left for a first iteration that would begin now."""
        return self.seconds is not None and self.elapsed_s() >= self.seconds - self.export_time_s

    def exclude(self, seconds: float) -> None:
        """Time in which the run was made to wait: it counts for nothing."""
        self.started, self._first = self.started + seconds, self._first + seconds

    def elapsed_s(self) -> float:
        """Time given to this run so far, by this process and earlier ones."""
        return self.spent_s + time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """In [0, 1]; 1 means that the run is over."""
        if self.steps is not None:
            return min(step / self.steps, 1.0)
        ends = self.started + self.seconds - self.spent_s - self.export_time_s
        span = max(ends - self._first, 1e-6)
        share = (time.monotonic() - self._first) / span
        return min(self._progress_then + (1 - self._progress_then) * share, 1.0)

    def share(self, progress: float, before: float) -> float:
        """How much of the run one iteration is, when it runs at `progress` and the one before it ran at `before`; never negative.

        By the clock it is the time since the iteration before, so the first one after a start counts for nothing.
        """
        return 1 / self.steps if self.steps is not None else max(progress - before, 0.0)
