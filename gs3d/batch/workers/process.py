"""A process that makes one row after another and keeps what they share.

Its `main` reads a request as JSON from each line of its standard input, and
writes events as JSON lines to its standard output. What libraries print goes to standard error.
"""

import contextlib
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from gs3d.core.errors import UserError
from gs3d.distill.budget import Budget
from gs3d.distill.memory.shortage import release
from gs3d.distill.step import StepLog
from gs3d.io.atomic import write_atomic
from gs3d.priors.base import Prior
from gs3d.priors.loading.components import Source
from gs3d.representations.asset import primitive_count
from gs3d.runs.callbacks import Callbacks, Message
from gs3d.runs.execute import Result, execute
from gs3d.runs.lock import locked
from gs3d.runs.prepare import Plan, prepare
from gs3d.runs.request import Request
from gs3d.runs.setup import load_prior

EVERY_S = 2.0
"""Seconds between the events of a running row."""
STRIP = "strip.webp"
"""The object from all sides, for the gallery."""
PATHS = ("out", "start", "config")
WAIT_S = 120.0
Send = Callable[[dict[str, Any]], None]


@dataclass
class Kept:
    """The prior of the last row, for the next one that has the same."""

    key: tuple[object, ...] | None = None
    prior: Prior | None = None

    def load(self, plan: Plan) -> Prior:
        """The prior of a run. The one before is given up first, so that both never need memory at
        once."""
        config = plan.config
        how = (config.attention, config.checkpoint_encoder, config.vae, config.vae_backward)
        key = (plan.prior, plan.device, *how, config.compile, config.text_on_cpu)
        if self.prior is None or key != self.key or not isinstance(plan.prior, Source):
            self.prior = None
            gc.collect()
            release()
            self.prior = load_prior(plan)
            self.key = key
        return self.prior


def main() -> int:
    """Make the rows that come in, until the input ends."""
    # A batch in the background may have left it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with _own_output() as output, contextlib.suppress(KeyboardInterrupt):

        def send(event: dict[str, Any]) -> None:
            # Without a reader, the batch is gone, and the row is about to be ended.
            with contextlib.suppress(OSError):
                output.write(json.dumps(event) + "\n")
                output.flush()

        kept, busy = Kept(), threading.Event()
        rows = _rows(busy)
        while (line := rows.get()) is not None:
            ended = _ended(lambda line=line: make(request_from(line), send, kept))
            busy.clear()
            send(ended)
            if ended["leaves"]:
                break
    return 0


def make(request: Request, send: Send, kept: Kept) -> dict[str, Any]:
    """Make one row; the event with which it ends."""
    last = 0.0
    assert request.out is not None
    print(f"row {request.out.name}", file=sys.stderr, flush=True)
    _wait_for(request.out)
    plan = prepare(request)

    def on_message(message: Message) -> None:
        # Those of the plan were said when the rows were checked.
        if message.is_warning and message not in plan.messages:
            send({"event": "warning", "text": message.text})

    def on_step(entry: StepLog, budget: Budget) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= EVERY_S:
            last = now
            send({"event": "step", "step": entry.step + 1, "progress": entry.progress})

    # The minutes of a row do not depend on whether it is the first of its worker.
    kept.load(plan)
    plan = replace(plan, started=time.monotonic())
    result = execute(plan, Callbacks(on_message, on_step), kept.load)
    if result.asset is None:
        reason = "; ".join(result.warnings) or "nothing to export"
        return {"event": "failed", "reason": reason, "leaves": False}
    _write_strip(result)
    ended = {"outcome": result.outcome, "steps": result.steps, "seconds": result.seconds}
    # A process whose memory was full is in no state for another row.
    leaves = result.outcome == "out of memory"
    return {"event": "ended", **ended, "pieces": primitive_count(result.asset), "leaves": leaves}


def _ended(row: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The event with which a row ends, also if it fails."""
    try:
        return row()
    except UserError as error:
        reason = error.for_command_line.splitlines()[0]
        return {"event": "failed", "reason": reason, "leaves": False}
    except Exception as error:
        traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:300]
        where = f"{Path(place.filename).name} line {place.lineno}"
        # Another process for the next row: after some faults of CUDA, all that follows fails.
        reason = f"{type(error).__name__}: {text} ({where})"
        return {"event": "failed", "reason": reason, "leaves": True}


def _write_strip(result: Result) -> None:
    """Write the strip of a result. A picture that fails is no reason for a row to."""
    from gs3d.evaluation.report_html import strip
    from gs3d.ops.place import framed

    assert result.asset is not None
    try:
        data = strip(framed(result.asset))
        write_atomic(result.folder / STRIP, lambda path: path.write_bytes(data), lambda path: None)
    except Exception:
        traceback.print_exc()


def request_to(request: Request) -> str:
    """A request as one line."""
    values = asdict(request)
    for name in PATHS:
        values[name] = values[name] and str(values[name])
    return json.dumps(values)


def request_from(line: str) -> Request:
    """The inverse of `request_to`."""
    values = json.loads(line)
    for name in ("out", "start"):
        values[name] = values[name] and Path(values[name])
    return replace(Request(**values), lora=tuple(values["lora"]), set=tuple(values["set"]))


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


def _wait_for(folder: Path) -> None:
    """Wait while another process writes into a folder: the worker of a batch that was killed may
    still write what it has."""
    deadline = time.monotonic() + WAIT_S
    while folder.is_dir() and time.monotonic() < deadline:
        try:
            with locked(folder):
                return
        except UserError:
            time.sleep(0.5)


@contextlib.contextmanager
def _own_output() -> Iterator[TextIO]:
    """Standard output for the events alone: what anything else prints goes to standard error."""
    # Without a reader, closing fails once more.
    with contextlib.suppress(OSError), os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)
        yield output
