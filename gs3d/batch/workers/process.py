"""A process that makes one row after another and keeps what they share.

Its `main` reads a job from each line of its standard input, and writes events as JSON lines to its
standard output. What libraries print goes to standard error.
"""

import contextlib
import faulthandler
import io
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO, cast

from gs3d.batch.workers.hang import TRACE
from gs3d.batch.workers.job import job_from
from gs3d.batch.workers.make import Kept, ended, make


def main() -> int:
    """Make the rows that come in, until the input ends."""
    # A batch in the background may have left it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable(2)
    if TRACE is not None:
        faulthandler.register(TRACE, 2)
    with _own_output() as output, contextlib.suppress(KeyboardInterrupt):

        def send(event: dict[str, Any]) -> None:
            # Without a reader, the batch is gone, and the row is about to be ended.
            with contextlib.suppress(OSError):
                output.write(json.dumps(event) + "\n")
                output.flush()

        kept, busy = Kept(), threading.Event()
        rows = _rows(busy)
        while (line := rows.get()) is not None:
            last = ended(lambda line=line: make(job_from(line), send, kept))
            busy.clear()
            send(last)
            if last["leaves"]:
                break
    return 0


class Log(io.FileIO):
    """A file that loses what it has no room for. A full disk under the log of a worker is no reason
    for rows on other disks to fail."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _rows(busy: threading.Event) -> "queue.SimpleQueue[str | None]":
    """The lines that come in, and None at their end. If that comes while a row is made, the row
    ends as at Ctrl-C: the batch is stopping, or is gone."""
    found: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            busy.set()
            found.put(line)
        found.put(None)
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=read, daemon=True).start()
    return found


@contextlib.contextmanager
def _own_output() -> Iterator[TextIO]:
    """Standard output for the events alone: what anything else prints goes to standard error."""
    # Without a reader, closing fails once more.
    with contextlib.suppress(OSError), os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)
        log = Log(2, "wb", closefd=False)
        sys.stdout = sys.stderr = io.TextIOWrapper(
            cast(Any, log), "utf-8", "backslashreplace", write_through=True
        )
        yield output
