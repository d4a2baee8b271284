"""Makes one row in this process."""

import gc
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gs3d.batch.remote.folder import opened
from gs3d.batch.remote.upload import Upload, following
from gs3d.batch.remote.work import fetch, remove, work_folder
from gs3d.batch.shown.strip import write_strip
from gs3d.batch.workers.job import ADVICE, ALIVE, Job, Send, job_to, seldom
from gs3d.core.errors import UserError
from gs3d.distill.budget import Budget
from gs3d.distill.memory.shortage import is_memory, release
from gs3d.distill.step import StepLog
from gs3d.priors.base import Prior
from gs3d.priors.loading.components import Source
from gs3d.representations.asset import primitive_count
from gs3d.runs.callbacks import Callbacks, Message
from gs3d.runs.execute import execute
from gs3d.runs.folders import make_writable
from gs3d.runs.lock import locked
from gs3d.runs.prepare import Plan, prepare
from gs3d.runs.request import Request
from gs3d.runs.setup import load_prior

EVERY_S = 2.0
"""Seconds between the events of a running row."""
WAIT_S = 120.0
"""Seconds to wait for a folder that another process still writes."""


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


def make(job: Job, send: Send, kept: Kept) -> dict[str, Any]:
    """Make one row, or go on with it; the event with which it ends."""
    assert job.request.out is not None
    print(f"row {job.request.out.name}", file=sys.stderr, flush=True)
    return _made(job.request, send, kept) if job.url is None else _at_url(job, send, kept)


def _at_url(job: Job, send: Send, kept: Kept) -> dict[str, Any]:
    """Make a row in a folder of this machine, and upload it."""
    assert job.url is not None
    place = opened(job.url)
    # With more steps or minutes, or on another card, the row goes on.
    common = replace(job.request, out=None, steps=None, minutes=None, device=None)
    folder = work_folder(place, job_to(Job(common)))
    _wait_for(folder)
    fetch(place, folder, lambda: send(ALIVE))
    upload = Upload(folder, place)
    try:
        with following(upload, lambda text: send({"event": "warning", "text": text})):
            ended = _made(replace(job.request, out=folder), send, kept)
    except Exception:
        if not (folder / "checkpoint").exists():
            remove(folder)  # nothing to go on from
        raise
    try:
        upload.whole(lambda: send(ALIVE))
    except UserError as error:
        reason = f"{error.for_command_line}; its files are in {folder} on {socket.gethostname()}"
        return {"event": "failed", "reason": reason, "leaves": ended["leaves"]}
    remove(folder)
    return ended


def _made(request: Request, send: Send, kept: Kept) -> dict[str, Any]:
    """Make one row in its output directory."""
    assert request.out is not None
    _wait_for(request.out)
    # Whatever an earlier process had written; a new run where that is nothing.
    plan = prepare(replace(request, resume=(request.out / "run.yaml").exists()))

    def on_message(message: Message) -> None:
        send(ALIVE)
        # Those of the plan were said when the rows were checked.
        if message.is_warning and message not in plan.messages:
            send({"event": "warning", "text": message.text})

    tell = seldom(send, EVERY_S)

    def on_step(entry: StepLog, budget: Budget) -> None:
        tell({"event": "step", "step": entry.step + 1, "progress": entry.progress})

    # The minutes of a row do not depend on whether it is the first of its worker.
    send(ALIVE)
    kept.load(plan)
    send(ALIVE)
    plan = replace(plan, started=time.monotonic())
    result = execute(plan, Callbacks(on_message, on_step), kept.load)
    if result.asset is None:
        # The first one is about the result.
        reason = result.warnings[0] if result.warnings else "nothing to export"
        # The reason may be a full memory, after which a process is in no state for another row.
        return {"event": "failed", "reason": reason, "leaves": True}
    write_strip(result.folder, result.asset)
    ended = {"outcome": result.outcome, "steps": result.steps, "seconds": result.seconds}
    # A process whose memory was full is in no state for another row.
    leaves = result.outcome == "out of memory"
    return {"event": "ended", **ended, "pieces": primitive_count(result.asset), "leaves": leaves}


def ended(row: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The event with which a row ends, also if it fails."""
    try:
        return row()
    except UserError as error:
        reason = error.for_command_line.splitlines()[0]
        return {"event": "failed", "reason": reason, "leaves": is_memory(error)}
    except Exception as error:
        traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:300]
        where = f"{Path(place.filename).name} line {place.lineno}"
        # Another process for the next row: after some faults of CUDA, all that follows fails.
        reason = f"{type(error).__name__}: {text} ({where})"
        if is_memory(error):
            reason = f"out of memory ({where}); {ADVICE}"
        return {"event": "failed", "reason": reason, "leaves": True}


def _wait_for(folder: Path) -> None:
    """Wait while another process writes into a folder: the worker of a batch that was killed may
    still write what it has. `UserError` if nothing can be written there."""
    if folder.is_dir():
        make_writable(folder)
    deadline = time.monotonic() + WAIT_S
    while folder.is_dir() and time.monotonic() < deadline:
        try:
            with locked(folder):
                return
        except UserError:
            time.sleep(0.5)
