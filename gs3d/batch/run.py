"""`gs3d batch`: check the list, make what is missing, and keep the index."""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from gs3d.batch import index
from gs3d.batch.gallery import write_page, write_rows
from gs3d.batch.index import Entry
from gs3d.batch.plan import Planned, planned
from gs3d.batch.pool import Event, Place, Pool, check_places, places
from gs3d.batch.request import Batch, checked
from gs3d.batch.rows import read_rows
from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.runs.folders import make_writable
from gs3d.runs.history import read_record
from gs3d.runs.lock import locked
from gs3d.runs.request import pick_device

ROWS = "rows.jsonl"
"""File in the folder of a batch: its rows, as a list."""
COMMANDS = "commands.json"
"""The command of each row."""
GALLERY_EVERY_S = 2.0


@dataclass
class Tally:
    """Rows by what became of them, and how many there are to make."""

    total: int
    there: int
    """Rows that were done before."""
    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    began: float = field(default_factory=time.monotonic)

    def count(self, *states: str) -> int:
        return sum(e.state in states for e in self.entries.values())

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the rows that ended; None before the first."""
        made = self.count("done") - self.there
        if made <= 0:
            return None
        each = (time.monotonic() - self.began) / made
        return each * self.count("waiting", "running")


Watch = Callable[[Event, Tally], None]
"""Gets each event."""


def run_batch(batch: Batch, say: Callable[[str], None], watch: Watch) -> int:
    """Make the rows of a batch that are missing. Returns an exit status: 0 if all rows are done, 1
    if some failed, 130 after Ctrl-C.

    Raises:
        UserError: The list, an option or a row is wrong; nothing has begun.
    """
    batch = checked(batch)
    listed = read_rows(batch.rows)
    device = pick_device(batch.device)
    workers = places(batch.workers, device)
    check_places(workers)
    rows = planned(batch, listed, lambda line: say(f"warning: {line}"))
    todo = [row for row in rows if row.progress != "done"]
    make_writable(batch.folder)
    with locked(batch.folder):
        _write_rows(batch.folder, rows)
        index.remove(batch.folder)
        with index.opened(batch.folder) as db:
            tally = Tally(len(rows), len(rows) - len(todo))
            tally.entries = {row.row.name: first_entry(row) for row in rows}
            index.put(db, list(tally.entries.values()))
            write_page(batch.folder)
            lines = {row.row.name: _line(row) for row in rows}

            def draw() -> None:
                write_rows(batch.folder, list(tally.entries.values()), lines)

            draw()
            say(_begun(batch, rows, todo, workers))
            if not todo:
                return 0
            pool = Pool(batch.folder, workers, batch.retries, batch.max_failures)
            status, drawn = 0, time.monotonic()
            with _stopped_by_signals(pool, say) as stopped:
                for event in pool.run(todo):
                    entry = after(tally.entries[event.row.row.name], event)
                    tally.entries[entry.name] = entry
                    index.put(db, [entry])
                    watch(event, tally)
                    if time.monotonic() - drawn >= GALLERY_EVERY_S:
                        draw()
                        drawn = time.monotonic()
                status = 130 if stopped else 1 if tally.count("failed") else 0
            draw()
            return status


def first_entry(row: Planned) -> Entry:
    """What the index holds of a row before the batch goes on."""
    entry = Entry(row.row.name, row.number, row.row.prompt, row.row.seed, command=row.command)
    return recorded(entry, row.folder, is_done=row.progress == "done")


def recorded(entry: Entry, folder: Path, is_done: bool | None = None) -> Entry:
    """An entry with what run.yaml in `folder` says. `is_done` is whether a run that has ended is
    the whole of it, by default whether it says so."""
    record = read_record(folder)
    if record is None:
        began = (folder / "run.yaml").exists()
        return replace(entry, state="stopped") if began else entry
    result, seconds = record["result"], sum(record["timings_s"].values())
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


def after(entry: Entry, event: Event) -> Entry:
    """The entry of a row after an event."""
    values = event.values
    if event.kind == "started":
        return replace(entry, state="running", reason="")
    if event.kind == "step":
        return replace(entry, progress=values["progress"], steps=values["step"])
    if event.kind == "failed":
        return replace(entry, state="failed", reason=values["reason"])
    if event.kind == "ended":
        whole = values["outcome"] == "finished"
        state = "done" if whole else "stopped"
        reason = (
            "" if whole or values["outcome"] in STOPPED else f"ended early: {values['outcome']}"
        )
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


STOPPED = ("interrupted", "terminated")
"""Outcomes of a run that goes on when the batch does."""


@contextlib.contextmanager
def _stopped_by_signals(pool: Pool, say: Callable[[str], None]) -> Iterator[list[int]]:
    """Stop the pool at Ctrl-C or SIGTERM, and at once when it comes again. Yields the signals that
    came."""
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        if len(came) == 1:
            say("stopping: rows in progress write what there is; press Ctrl-C again to leave now")
            pool.stop()
        else:
            pool.stop(signal.SIGKILL)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _line(row: Planned) -> str:
    """A row as a line of a .jsonl list."""
    values = {k: v for k, v in asdict(row.row).items() if v is not None}
    return json.dumps(values, ensure_ascii=False)


def _write_rows(folder: Path, rows: Sequence[Planned]) -> None:
    """Write `ROWS` and `COMMANDS`, in the order of the list."""
    in_order = sorted(rows, key=lambda row: row.number)
    texts = {
        ROWS: "".join(_line(row) + "\n" for row in in_order),
        COMMANDS: json.dumps({row.row.name: row.command for row in in_order}, indent=0),
    }
    for name, text in texts.items():
        data = text.encode("utf-8", "replace")
        write_atomic(folder / name, lambda path, d=data: path.write_bytes(d), lambda path: None)


def rebuild(folder: Path) -> list[Entry]:
    """Make the index again, from the rows of the batch and the run.yaml of each. Rows that failed
    wait again: why they did is in the index alone.

    Raises:
        UserError: `folder` holds no batch.
    """
    try:
        commands = json.loads((folder / COMMANDS).read_text("utf-8"))
        found = [
            recorded(
                Entry(row.name, i, row.prompt, row.seed, command=commands[row.name]),
                folder / row.name,
            )
            for i, row in enumerate(read_rows(folder / ROWS))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.for_command_line if isinstance(error, UserError) else f"no {COMMANDS}"
        raise UserError(f"{folder}: expected the folder of a batch; {reason}") from None
    index.remove(folder)
    with index.opened(folder) as db:
        index.put(db, found)
    return found


def status_of(folder: Path) -> list[Entry]:
    """The entries of a batch, from its index. `UserError` if there is none."""
    if not (folder / index.NAME).exists():
        hint = f"; `gs3d batch index {folder}` makes it" if (folder / ROWS).exists() else ""
        raise UserError(f"{folder}: holds no {index.NAME}{hint}")
    with index.opened(folder) as db:
        return index.entries(db)


def _begun(
    batch: Batch, rows: Sequence[Planned], todo: Sequence[Planned], workers: Sequence[Place]
) -> str:
    """The first line of a batch."""
    there = len(rows) - len(todo)
    begun = sum(row.progress == "begun" for row in todo)
    parts = [f"{len(todo)} of {len(rows)} rows to make"]
    parts += [f"{there} are there"] if there else []
    parts += [f"{begun} go on"] if begun else []
    on = "GPU" if workers[0].gpu is not None else "core"
    each = 1 if workers[0].gpu is not None else len(workers[0].cores)
    parts.append(f"{len(workers)} at once, {each} {on}{'s' * (each > 1)} each")
    return ", ".join(parts) + f", in {batch.folder}"
