"""`gs3d batch`: check the list, make what is missing, and keep the index."""

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from gs3d.batch.plan import Planned, planned
from gs3d.batch.remote.folder import check, opened
from gs3d.batch.request import Batch, checked
from gs3d.batch.results import URL, Copies, Results
from gs3d.batch.rows import Row, read_rows
from gs3d.batch.shown.files import Shown
from gs3d.batch.shown.gallery import write_page
from gs3d.batch.shown.strip import STRIP, write_missing_strip
from gs3d.batch.shown.tally import Tally, after, first_entry
from gs3d.batch.status import COMMANDS, ROWS
from gs3d.batch.workers.job import Event
from gs3d.batch.workers.places import places
from gs3d.batch.workers.pool import Pool
from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.runs.folders import writable
from gs3d.runs.lock import locked
from gs3d.runs.request import pick_device

if TYPE_CHECKING:
    from gs3d.batch.workers.cluster import Cluster

NOTICE_S = 6.0
"""Seconds after SIGTERM in which rows write what there is, first of all a checkpoint. Machines that
are taken away give notice of ten."""
Watch = Callable[[Event, Tally], None]
"""Gets each event."""


def run_batch(batch: Batch, say: Callable[[str], None], watch: Watch) -> int:
    """Make the rows of a batch that are missing. Returns an exit status: 0 if all rows are done, 1
    if some failed, 130 after Ctrl-C.

    Raises:
        UserError: The list, an option or a row is wrong, or a place cannot be reached; nothing has
            begun.
    """
    batch = checked(batch)
    listed = read_rows(batch.rows)
    results = results_of(batch)
    with makers_of(batch, say) as (makers, batch):
        is_new = not batch.folder.exists()
        # Of many rows that are there, a check takes minutes, so there is one: before a new folder,
        # or under the lock of one that another batch may have worked on until now.
        rows = _checked_rows(batch, listed, results, say) if is_new else []
        with writable(batch.folder), locked(batch.folder):
            rows = rows if is_new else _checked_rows(batch, listed, results, say)
            makers.check()
            return _make(batch, rows, results, makers, say, watch)


def _checked_rows(
    batch: Batch, listed: Sequence[Row], results: Results, say: Callable[[str], None]
) -> list[Planned]:
    return planned(batch, listed, lambda line: say(f"warning: {line}"), results)


def _make(
    batch: Batch,
    rows: Sequence[Planned],
    results: Results,
    makers: "Pool | Cluster",
    say: Callable[[str], None],
    watch: Watch,
) -> int:
    """The part of a batch that holds its folder."""
    todo = [row for row in rows if row.progress != "done"]
    _write_rows(batch, rows)
    write_page(batch.folder)
    entries = {row.row.name: first_entry(row) for row in rows}
    minutes = {row.row.name: row.minutes for row in rows}
    tally = Tally(len(rows), len(rows) - len(todo), makers.count, entries, minutes)
    shown = Shown(batch.folder, {row.row.name: _line(row) for row in rows}, say)
    shown.all(tally)
    say(_begun(batch, rows, todo, makers.in_words))
    with Copies(results) as copies:
        for row in rows:
            if row.progress == "done" and not (batch.folder / row.row.name / STRIP).exists():
                copies.add(row.row.name, STRIP)
        if not todo:
            _draw_missing(batch, rows, results)
            return 0
        try:
            with _stopped_by_signals(makers, say) as stopped:
                for event in makers.run(todo):
                    name = event.row.row.name
                    found = None
                    if event.kind == "stopped":
                        with contextlib.suppress(UserError):  # then what is there is not known
                            results.read([name])
                            found = results.find(name)
                    elif event.kind == "ended":
                        copies.add(name, STRIP)
                    entry = after(tally.entries[name], event, found)
                    tally.put(entry)
                    shown.one(entry, tally)
                    watch(event, tally)
        finally:
            # Before the copies end: a machine that is about to be taken away may not wait for them.
            shown.close(tally)
        if stopped:
            copies.stop()
    if stopped:
        return 130
    _draw_missing(batch, rows, results)
    return 1 if tally.count("failed") else 0


def _draw_missing(batch: Batch, rows: Sequence[Planned], results: Results) -> None:
    """Draw rows of an earlier batch here that ended without their picture."""
    for row in rows:
        if row.progress == "done" and results.place is None:
            write_missing_strip(batch.folder / row.row.name)


def results_of(batch: Batch) -> Results:
    """Where the rows of a batch are. `UserError` if that is a URL that cannot be written."""
    if batch.url is None:
        return Results(batch.folder)
    place = opened(batch.url)
    check(place)
    return Results(batch.folder, place)


@contextlib.contextmanager
def makers_of(batch: Batch, say: Callable[[str], None]) -> "Iterator[tuple[Pool | Cluster, Batch]]":
    """What makes the rows of a batch, and the batch with the device that they use there.

    Raises:
        UserError: This machine has no such device, or there is no such cluster.
    """
    if batch.ray is None:
        found = places(batch.workers, pick_device(batch.device))
        pool = Pool(batch.folder, found, batch.retries, batch.max_failures, 60 * batch.hang_minutes)
        yield pool, batch
        return
    from gs3d.batch.workers.cluster import connected

    with connected(batch, say) as cluster:
        yield cluster, replace(batch, device=cluster.device)


@contextlib.contextmanager
def _stopped_by_signals(
    makers: "Pool | Cluster", say: Callable[[str], None]
) -> Iterator[list[int]]:
    """Stop what makes rows at Ctrl-C, SIGTERM or the end of the terminal, and at once when one
    comes again, or `NOTICE_S` after SIGTERM. Yields the signals that came."""
    came: list[int] = []
    notice = threading.Timer(NOTICE_S, makers.stop, kwargs={"at_once": True})
    notice.daemon = True

    def stop(number: int, _: object) -> None:
        came.append(number)
        if number == signal.SIGTERM and came.count(number) == 1:
            notice.start()
        if len(came) == 1:
            say("stopping: rows in progress write what there is; press Ctrl-C again to leave now")
            makers.stop()
        else:
            makers.stop(at_once=True)

    numbers = [signal.SIGINT, signal.SIGTERM]
    # Programs that nohup starts ignore it.
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield came
    finally:
        notice.cancel()
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _line(row: Planned) -> str:
    """A row as a line of a .jsonl list."""
    values = {k: v for k, v in asdict(row.row).items() if v is not None}
    return json.dumps(values, ensure_ascii=False)


def _write_rows(batch: Batch, rows: Sequence[Planned]) -> None:
    """Write `ROWS` and `COMMANDS`, in the order of the list, and `URL` where there is one."""
    in_order = sorted(rows, key=lambda row: row.number)
    texts = {
        ROWS: "".join(_line(row) + "\n" for row in in_order),
        COMMANDS: json.dumps({row.row.name: row.command for row in in_order}, indent=0),
    }
    texts |= {} if batch.url is None else {URL: f"{batch.url}\n"}
    for name, text in texts.items():
        data = text.encode("utf-8", "replace")
        write_atomic(
            batch.folder / name, lambda path, d=data: path.write_bytes(d), lambda path: None
        )


def _begun(batch: Batch, rows: Sequence[Planned], todo: Sequence[Planned], at_once: str) -> str:
    """The first line of a batch."""
    there = len(rows) - len(todo)
    begun = sum(row.progress == "begun" for row in todo)
    parts = [f"{len(todo)} of {len(rows)} rows to make"]
    parts += [f"{there} are there"] if there else []
    parts += [f"{begun} go on"] if begun else []
    where = (
        f"in {batch.folder}" if batch.url is None else f"to {batch.url}, shown in {batch.folder}"
    )
    return ", ".join([*parts, at_once, where])
