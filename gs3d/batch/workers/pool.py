"""Workers on this machine, each a process that makes one row after another (`workers.process`)."""

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import gs3d
from gs3d.batch.plan import Planned
from gs3d.batch.workers.hang import HangWatch
from gs3d.batch.workers.job import ADVICE, ALIVE, Event, fault_of, job_of, job_to
from gs3d.batch.workers.places import Place
from gs3d.core.errors import UserError

ROOT = Path(gs3d.__file__).parents[1]
MODULE = "gs3d.batch.workers.process"
CODE = f"import sys; sys.path[0] = {str(ROOT)!r}; from {MODULE} import main; main()"
COMMAND = (sys.executable, "-c", CODE)
"""With -m, Python would look for modules in the working directory first."""
END_S = 60.0
"""Seconds in which a worker that has no row ends."""
LOGS = "workers"
"""Folder of what the workers print."""


class Pool:
    """Workers that take rows from one queue.

    A worker that dies is replaced, and its row goes on from its newest checkpoint, at most
    `retries` times.
    """

    def __init__(
        self,
        folder: Path,
        places: Sequence[Place],
        retries: int,
        max_failures: int | None = None,
        hang_s: float = math.inf,
    ):
        """`max_failures` is the number of failed rows after which no other starts. A worker that
        says nothing for `hang_s` seconds is killed."""
        self._folder, self._places, self._retries = folder, places, retries
        self._failures_left = max_failures
        self._watch = HangWatch(hang_s)
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._rows: queue.SimpleQueue[Planned] = queue.SimpleQueue()
        self._stopping = threading.Event()
        # A signal may call `stop` in the middle of itself.
        self._lock = threading.RLock()
        self._processes: set[subprocess.Popen[str]] = set()

    @property
    def count(self) -> int:
        """Rows at once."""
        return len(self._places)

    @property
    def unit(self) -> tuple[str, float]:
        """What its time is counted in, and how many of these a row takes."""
        return ("machine" if self._places[0].gpu is None else "GPU"), 1.0

    @property
    def in_words(self) -> str:
        first = self._places[0]
        each = f"{len(first.cores)} core" + "s" * (len(first.cores) > 1)
        return f"{self.count} at once, {each if first.gpu is None else '1 GPU'} each"

    def check(self) -> None:
        """Raise `UserError` if this system cannot start workers as they are needed."""
        if os.name != "posix" and self.count > 1:
            raise UserError(f"--workers: expected 1 on this system, got {self.count}")

    def run(self, rows: Sequence[Planned]) -> Iterator[Event]:
        """Make the rows, and yield what the workers say. Closing the iterator stops them."""
        with contextlib.suppress(OSError):  # then there are no logs
            (self._folder / LOGS).mkdir(exist_ok=True)
        for row in rows:
            self._rows.put(row)
        threads = [
            threading.Thread(target=self._work, args=[place], daemon=True)
            for place in self._places[: len(rows)]
        ]
        for thread in threads:
            thread.start()
        left = len(threads)
        with self._watch.open():
            try:
                while left:
                    event = self._events.get()
                    if event is None:
                        left -= 1
                    else:
                        yield event
            finally:
                self.stop()
                for thread in threads:
                    thread.join()

    def stop(self, at_once: bool = False) -> None:
        """Start no more rows. Those that run end after their iteration with what there is, or at
        once."""
        self._stopping.set()
        with self._lock:
            for process in self._processes:
                _close(process)
                if at_once:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()

    def _failed(self, row: Planned, reason: str) -> None:
        self._count_failure()
        self._events.put(Event(row, "failed", {"reason": reason}))

    def _count_failure(self) -> None:
        """Start no more rows if this one that failed is one too many."""
        with self._lock:
            if self._failures_left is not None:
                self._failures_left -= 1
                if self._failures_left <= 0:
                    self._stopping.set()

    def _work(self, place: Place) -> None:
        """What the thread of one worker does."""
        process: subprocess.Popen[str] | None = None
        while not self._stopping.is_set():
            try:
                row = self._rows.get_nowait()
            except queue.Empty:
                break
            try:
                process = self._make(row, place, process)
            except Exception as error:  # such as a system without room for another process
                self._failed(row, f"{type(error).__name__}: {error}")
        if process is not None:
            self._end(process)
        self._events.put(None)

    def _make(
        self, row: Planned, place: Place, process: subprocess.Popen[str] | None
    ) -> subprocess.Popen[str] | None:
        """Make one row in `process`, or in a new one; returns that which is left for the next."""
        job = job_to(job_of(row))
        self._events.put(Event(row, "started", {"worker": place.number}))
        for attempt in range(self._retries + 1):
            if process is None or process.poll() is not None:
                process = self._start(place)
            if (last := self._follow(row, process, job)) is not None:
                if fault_of(last.kind, last.values):
                    self._count_failure()
                self._events.put(last)
                if not last.values["leaves"]:
                    return process
                self._end(process)
                return None
            why = _why(self._end(process))
            why, process = self._watch.why(process) or why, None
            if self._stopping.is_set():
                self._events.put(Event(row, "stopped", {}))
                break
            if attempt < self._retries:
                self._events.put(Event(row, "lost", {"reason": why}))
            else:
                again = f" {attempt + 1} times" if attempt else ""
                reason = f"its worker ended{again} ({why}); see {self._log(place)}"
                self._failed(row, reason)
        return process

    def _follow(self, row: Planned, process: subprocess.Popen[str], job: str) -> Event | None:
        """Give a job to a worker and pass its events on, but for the last, which is returned;
        None if the worker dies."""
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(job + "\n")
            process.stdin.flush()
        except (OSError, ValueError):  # it has ended, or the batch is stopping
            return None
        with self._watch.of(process) as heard:
            for line in process.stdout:
                heard()
                try:
                    values = json.loads(line)
                    if values == ALIVE:
                        continue
                    kind = values.pop("event")
                except (ValueError, KeyError, AttributeError):
                    continue  # half a line of a worker that was killed
                if kind in ("ended", "failed"):
                    return Event(row, kind, values)
                self._events.put(Event(row, kind, values))
        return None

    def _start(self, place: Place) -> subprocess.Popen[str]:
        with self._opened_log(place) as log:
            process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | place.environment,
                encoding="utf-8",
                errors="replace",
                # Ctrl-C in a terminal reaches this process alone, which decides what it means.
                start_new_session=True,
            )
        if hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(OSError):  # it may have ended already
                os.sched_setaffinity(process.pid, place.cores)
        with self._lock:
            self._processes.add(process)
            if self._stopping.is_set():
                _close(process)
        return process

    def _end(self, process: subprocess.Popen[str]) -> int:
        """Let a worker without a row end, and return its exit status."""
        _close(process)
        try:
            status = process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        with self._lock:
            self._processes.discard(process)
        return status

    def _opened_log(self, place: Place) -> IO[bytes]:
        try:
            return open(self._log(place), "ab")
        except OSError:  # such as a full disk, which need not be that of the rows
            return open(os.devnull, "ab")

    def _log(self, place: Place) -> Path:
        return self._folder / LOGS / f"worker-{place.number}.log"


def _close(process: subprocess.Popen[str]) -> None:
    """Close what a worker reads: it ends, after the iteration of a row in progress."""
    stdin: IO[str] | None = process.stdin
    if stdin is not None:
        with contextlib.suppress(OSError):
            stdin.close()


def _why(status: int) -> str:
    """An exit status in words."""
    if status == -signal.SIGKILL:
        return f"killed, which the system does when memory is full: {ADVICE}"
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"
