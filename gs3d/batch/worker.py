"""A process that makes one row after another and keeps what they share.

`python -m gs3d.batch.worker` reads a request as JSON from each line of its standard input, and
writes events as JSON lines to its standard output. What libraries print goes to standard error.
"""

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from gs3d.core.errors import UserError
from gs3d.distill.budget import Budget
from gs3d.distill.step import StepLog
from gs3d.io.atomic import write_atomic
from gs3d.priors.base import Prior
from gs3d.priors.loading.components import Source
from gs3d.runs.callbacks import Callbacks, Message
from gs3d.runs.execute import Result, execute
from gs3d.runs.prepare import Plan, prepare
from gs3d.runs.request import Request
from gs3d.runs.setup import load_prior

EVERY_S = 2.0
"""Seconds between the events of a running row."""
STRIP = "strip.webp"
"""The object from all sides, for the gallery."""
PATHS = ("out", "start", "config")
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
            self.prior = load_prior(plan)
            self.key = key
        return self.prior


def main() -> int:
    """Make the rows that come in, until the input ends."""
    with _own_output() as output:

        def send(event: dict[str, Any]) -> None:
            output.write(json.dumps(event) + "\n")
            output.flush()

        kept = Kept()
        send({"event": "ready"})
        for line in sys.stdin:
            send(_ended(lambda line=line: make(request_from(line), send, kept)))
    return 0


def make(request: Request, send: Send, kept: Kept) -> dict[str, Any]:
    """Make one row; the event with which it ends."""
    last = 0.0

    def on_message(message: Message) -> None:
        if message.is_warning:
            send({"event": "warning", "text": message.text})

    def on_step(entry: StepLog, budget: Budget) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= EVERY_S:
            last = now
            send({"event": "step", "step": entry.step + 1, "progress": entry.progress})

    result = execute(prepare(request), Callbacks(on_message, on_step), kept.load)
    if result.asset is None:
        return {"event": "failed", "reason": "; ".join(result.warnings) or "nothing to export"}
    _write_strip(result)
    pieces = len(result.splats.means) if result.splats else len(result.mesh.faces)  # type: ignore[union-attr]
    ended = {"outcome": result.outcome, "steps": result.steps, "seconds": result.seconds}
    return {"event": "ended", **ended, "pieces": pieces}


def _ended(row: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The event with which a row ends, also if it fails."""
    try:
        return row()
    except UserError as error:
        return {"event": "failed", "reason": error.for_command_line.splitlines()[0]}
    except Exception as error:
        traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:300]
        where = f"{Path(place.filename).name} line {place.lineno}"
        return {"event": "failed", "reason": f"{type(error).__name__}: {text} ({where})"}


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


@contextlib.contextmanager
def _own_output() -> Iterator[TextIO]:
    """Standard output for the events alone: what anything else prints goes to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)
        yield output


if __name__ == "__main__":
    sys.exit(main())
