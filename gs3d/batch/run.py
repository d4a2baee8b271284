"""`gs3d batch`: check the list, make what is missing, and keep the index."""

import contextlib
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from gs3d.batch.plan import Planned, planned
from gs3d.batch.request import Batch, checked
from gs3d.batch.rows import read_rows
from gs3d.batch.shown.files import Shown
from gs3d.batch.shown.gallery import write_page
from gs3d.batch.shown.tally import Tally, after, first_entry
from gs3d.batch.status import COMMANDS, ROWS
from gs3d.batch.workers.pool import Event, Place, Pool, check_places, places
from gs3d.io.atomic import write_atomic
from gs3d.runs.folders import make_writable
from gs3d.runs.lock import locked
from gs3d.runs.request import pick_device

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
    is_new = not batch.folder.exists()
    make_writable(batch.folder)
    with locked(batch.folder):
        # Another batch may have ended here since the rows were checked.
        rows = rows if is_new else planned(batch, listed)
        todo = [row for row in rows if row.progress != "done"]
        _write_rows(batch.folder, rows)
        write_page(batch.folder)
        tally = Tally(len(rows), len(rows) - len(todo), len(workers))
        tally.entries = {row.row.name: first_entry(row) for row in rows}
        tally.minutes = {row.row.name: row.minutes for row in rows}
        shown = Shown(batch.folder, {row.row.name: _line(row) for row in rows}, say)
        shown.all(tally)
        say(_begun(batch, rows, todo, workers))
        if not todo:
            return 0
        pool = Pool(batch.folder, workers, batch.retries, batch.max_failures)
        with _stopped_by_signals(pool, say) as stopped:
            for event in pool.run(todo):
                entry = after(tally.entries[event.row.row.name], event)
                tally.entries[entry.name] = entry
                shown.one(entry, tally)
                watch(event, tally)
        shown.all(tally)
        if stopped:
            return 130
        return 1 if tally.count("failed") else 0


@contextlib.contextmanager
def _stopped_by_signals(pool: Pool, say: Callable[[str], None]) -> Iterator[list[int]]:
    """Stop the pool at Ctrl-C, SIGTERM or the end of the terminal, and at once when one comes
    again. Yields the signals that came."""
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        if len(came) == 1:
            say("stopping: rows in progress write what there is; press Ctrl-C again to leave now")
            pool.stop()
        else:
            pool.stop(at_once=True)

    numbers = [signal.SIGINT, signal.SIGTERM]
    # Programs that nohup starts ignore it.
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
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
