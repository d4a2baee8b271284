"""What has become of the rows of a batch."""

import math
import time
from collections import Counter
from dataclasses import dataclass, field, replace

from gs3d.batch.plan import Planned
from gs3d.batch.results import Found
from gs3d.batch.shown.index import Entry
from gs3d.batch.workers.job import Event, fault_of

LEFT = ("waiting", "running")
"""States of rows that the batch has yet to end."""


@dataclass
class Tally:
    """Rows by what became of them, and how many there are to make. It counts as entries come:
    over twenty thousand of them, a sum takes milliseconds, and is asked for with each event."""

    total: int
    done_before: int
    workers: int
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    """Name -> entry; `put` changes them."""
    minutes: dict[str, float] = field(default_factory=dict[str, float])
    """Minutes of each row; infinite for those by steps."""
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._states: Counter[str] = Counter()
        self._timed_s = 0.0
        """What is left to do of rows that have minutes."""
        self._untimed = 0
        """Rows left that have none."""
        for entry in self.entries.values():
            self._count(entry, 1)

    def put(self, entry: Entry) -> None:
        """Change an entry, or add one."""
        if (before := self.entries.get(entry.name)) is not None:
            self._count(before, -1)
        self.entries[entry.name] = entry
        self._count(entry, 1)

    def _count(self, entry: Entry, sign: int) -> None:
        self._states[entry.state] += sign
        if entry.state in LEFT:
            seconds = (1 - entry.progress) * 60 * self.minutes.get(entry.name, math.inf)
            if math.isfinite(seconds):
                self._timed_s += sign * seconds
            else:
                self._untimed += sign

    def count(self, *states: str) -> int:
        return sum(self._states[state] for state in states)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all rows are done: from their minutes, or from the rows that ended; None
        before the first of those."""
        if not (left := self.count(*LEFT)):
            return 0.0
        if not self._untimed:
            return max(self._timed_s, 0.0) / self.workers
        made = self.count("done") - self.done_before
        return None if made <= 0 else (time.monotonic() - self.began) / made * left


def first_entry(row: Planned) -> Entry:
    """What the index holds of a row before the batch goes on."""
    entry = Entry(row.row.name, row.number, row.row.prompt, row.row.seed, command=row.command)
    entry = recorded(entry, row.found, is_done=row.progress == "done")
    return entry if entry.state == "done" else replace(entry, state="waiting")


def recorded(entry: Entry, found: Found | None, is_done: bool | None = None) -> Entry:
    """An entry with what the run that was `found` says of itself. `is_done` is whether a run that
    has ended is the whole of it, by default whether it says so."""
    if found is None or not found.ended:
        return entry if found is None else replace(entry, state="stopped")
    result, seconds = found.record["result"], sum(found.record["timings_s"].values())
    done = result["outcome"] == "finished" if is_done is None else is_done
    pieces = result.get("splats") or result.get("triangles") or 0
    return replace(
        entry,
        state="done" if done else "stopped",
        steps=result.get("steps", 0),
        seconds=round(seconds, 1),
        pieces=pieces,
        progress=1.0 if done else 0.0,
    )


def after(entry: Entry, event: Event, found: Found | None) -> Entry:
    """The entry of a row after an event. `found` is what is there of it, if it was stopped."""
    values = event.values
    if event.kind == "started":
        return replace(entry, state="running", reason="")
    if event.kind == "step":
        return replace(entry, progress=values["progress"], steps=values["step"])
    if event.kind == "stopped":
        return recorded(replace(entry, state="waiting"), found)
    if event.kind == "failed":
        return replace(entry, state="failed", reason=values["reason"])
    if event.kind == "ended":
        whole = values["outcome"] == "finished"
        state = "done" if whole else "stopped"
        reason = fault_of(event.kind, values)
        return replace(
            entry,
            state="failed" if reason else state,
            reason=reason,
            steps=values["steps"],
            seconds=round(values["seconds"], 1),
            pieces=values["pieces"],
            progress=1.0 if whole else entry.progress,
        )
    return entry
