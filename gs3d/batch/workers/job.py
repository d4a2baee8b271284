"""A row on its way to the process that makes it, and what comes back."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gs3d.batch.plan import Planned
from gs3d.runs.request import Request

Send = Callable[[dict[str, Any]], None]
"""Takes an event of a row: its kind as "event", and values."""
ALIVE: dict[str, Any] = {"event": "alive"}
"""Says that a row goes on, where nothing else can be told."""
PATHS = ("out", "start", "config")
ADVICE = "make fewer rows at once (--workers; with --ray, --memory) or fewer splats"
"""What to do where memory was full."""
STOPPED = ("interrupted", "terminated")
"""Outcomes of a run that goes on when the batch does."""


@dataclass(frozen=True)
class Event:
    """What a worker says of a row."""

    row: Planned
    kind: str
    """started, step, warning, ended, failed; lost: its worker was killed, and it waits for another
    one; or stopped: its worker was killed while the batch stops."""
    values: dict[str, Any]


def fault_of(kind: str, values: dict[str, Any]) -> str:
    """Why a row failed, by its last event; "" if it did not, or was stopped."""
    if kind == "failed":
        return values["reason"]
    if kind != "ended" or values["outcome"] in ("finished", *STOPPED):
        return ""
    advice = f"; {ADVICE}" if values["outcome"] == "out of memory" else ""
    return f"ended early: {values['outcome']}{advice}"


@dataclass(frozen=True)
class Job:
    """What a process needs to make a row."""

    request: Request
    url: str | None = None
    """Where its files go; None if they stay in its output directory."""


def job_of(row: Planned) -> Job:
    return Job(row.request, row.url)


def job_to(job: Job) -> str:
    """A job as one line."""
    values = asdict(job.request)
    for name in PATHS:
        values[name] = values[name] and str(values[name])
    return json.dumps({"request": values, "url": job.url})


def job_from(line: str) -> Job:
    """The inverse of `job_to`."""
    found = json.loads(line)
    values = found["request"]
    for name in ("out", "start"):
        values[name] = values[name] and Path(values[name])
    lists = {name: tuple(values[name]) for name in ("lora", "set")}
    return Job(replace(Request(**values), **lists), found["url"])


def seldom(send: Send, every_s: float) -> Send:
    """`send`, but for steps that come within so many seconds of the one before."""
    last = -math.inf

    def some(event: dict[str, Any]) -> None:
        nonlocal last
        if event["event"] == "step":
            if (now := time.monotonic()) - last < every_s:
                return
            last = now
        send(event)

    return some
