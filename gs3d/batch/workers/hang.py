"""Workers that hang: those that were stopped, or wait without end for a card or a file system."""

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator

from gs3d.core.runtime import clock
from gs3d.core.runtime.threads import meanwhile

LOOK_S = 1.0
"""Seconds between looks, at most."""
TRACE_S = 1.0
"""Seconds that a worker has to print where it hangs."""
TRACE = getattr(signal, "SIGUSR1", None)
"""Signal at which a worker does, where the system has it."""


class HangWatch:
    """Kills workers that say nothing of their row for `limit_s` seconds.

    Time in which this process is stopped too, or the whole machine, does not count.
    """

    def __init__(self, limit_s: float):
        self.limit_s = limit_s
        self._heard: dict[subprocess.Popen[str], float] = {}
        self._killed: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Watch meanwhile, in a thread."""

        def look(ended: threading.Event) -> None:
            while not ended.wait(min(LOOK_S, self.limit_s / 4)):
                self.look()

        with clock.noticing_pauses(), meanwhile(look):
            yield

    @contextlib.contextmanager
    def of(self, process: subprocess.Popen[str]) -> Iterator[Callable[[], None]]:
        """Watch a worker while it makes a row. What it yields is to be called at each sign of
        life."""

        def heard() -> None:
            with self._lock:
                self._heard[process] = clock.now()

        heard()
        try:
            yield heard
        finally:
            with self._lock:
                del self._heard[process]

    def why(self, process: subprocess.Popen[str]) -> str:
        """Why a worker was killed; "" if that was not done here."""
        if process not in self._killed:
            return ""
        return (
            f"it said nothing for {self.limit_s / 60:g} minutes and was killed, see --hang-minutes"
        )

    def look(self) -> None:
        """Kill those that are silent for too long."""
        now = clock.now()
        with self._lock:
            silent = {p for p, heard in self._heard.items() if now - heard > self.limit_s}
            hung = silent - self._killed
            self._killed.update(hung)
        for process in hung:
            if TRACE is not None:
                process.send_signal(TRACE)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(TRACE_S)
            with self._lock:
                # It may have said something meanwhile.
                if self._heard.get(process, now) > now - self.limit_s:
                    self._killed.discard(process)
                    continue
            process.kill()
