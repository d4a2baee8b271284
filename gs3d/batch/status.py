"""What has become of a batch, from its index, or from its rows."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gs3d.batch.results import results_in
from gs3d.batch.rows import read_rows
from gs3d.batch.shown import index
from gs3d.batch.shown.index import Entry
from gs3d.batch.shown.tally import recorded
from gs3d.core.errors import UserError
from gs3d.runs.lock import locked

ROWS = "rows.jsonl"
"""File in the folder of a batch: its rows, as a list."""
COMMANDS = "commands.json"
"""The command of each row."""
LATEST = 100
"""Rows that ended last, which tell how long one takes."""


def rebuild(folder: Path) -> list[Entry]:
    """Make the index again, from the rows of the batch and the run.yaml of each. Rows that failed
    wait again: why they did is in the index alone.

    Raises:
        UserError: `folder` holds no batch.
    """
    try:
        commands = json.loads((folder / COMMANDS).read_text("utf-8"))
        rows = read_rows(folder / ROWS)
        results = results_in(folder)
        results.read([row.name for row in rows])
        found = [
            recorded(
                Entry(row.name, i, row.prompt, row.seed, command=commands[row.name]),
                results.find(row.name),
            )
            for i, row in enumerate(rows)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.for_command_line if isinstance(error, UserError) else f"no {COMMANDS}"
        raise UserError(f"{folder}: expected the folder of a batch; {reason}") from None
    with locked(folder):
        index.remove(folder)
        with index.opened(folder) as db:
            index.put(db, found)
    return found


def status_of(folder: Path) -> list[Entry]:
    """The entries of a batch, from its index. `UserError` if there is none."""
    if not (folder / index.NAME).exists():
        hint = f"; `gs3d batch index {folder}` makes it" if (folder / ROWS).exists() else ""
        raise UserError(f"{folder}: holds no {index.NAME}{hint}")
    found = index.read(folder)
    try:
        with locked(folder):
            # Nobody works on it, whatever a batch that was killed has left in the index.
            return [replace(e, state="stopped") if e.state == "running" else e for e in found]
    except (UserError, OSError):
        return found


def pace_of(found: Sequence[Entry]) -> tuple[float, float] | None:
    """Rows a second of a batch at work, and the seconds until all are made: from the seconds that
    the runs of the latest rows took, with as many at once as now. None if nothing runs or nothing
    is done."""
    done = sorted((e for e in found if e.state == "done"), key=lambda e: e.changed)[-LATEST:]
    running = [entry for entry in found if entry.state == "running"]
    seconds = sum(entry.seconds for entry in done)
    if not running or not seconds:
        return None
    rate = len(running) * len(done) / seconds
    left = sum(e.state == "waiting" for e in found) + sum(1 - e.progress for e in running)
    slowest = max(1 - e.progress for e in running) * seconds / len(done)
    return rate, max(left / rate, slowest)
