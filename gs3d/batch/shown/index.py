"""batch.sqlite: what is known of each row, for `gs3d batch status` and the gallery.

It is an index only. The truth is run.yaml in the folder of each row, from which `rebuild` makes it
again.
"""

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Literal, get_args

from gs3d.core.errors import UserError

NAME = "batch.sqlite"
FEW_BYTES = 2**16
"""With less than that on its disk, it cannot be written."""
State = Literal["waiting", "running", "stopped", "failed", "done"]


@dataclass(frozen=True)
class Entry:
    """What the index holds of a row."""

    name: str
    number: int
    """Place in the list, from 0."""
    prompt: str
    seed: int
    state: State = "waiting"
    reason: str = ""
    """Why it failed, in one line; "" otherwise."""
    command: str = ""
    """The command that makes this row alone."""
    steps: int = 0
    seconds: float = 0.0
    """Time of the run, of all its processes."""
    pieces: int = 0
    """Splats or triangles."""
    progress: float = 0.0
    """Of a running row, in [0, 1]."""
    changed: float = 0.0
    """time.time() of the last change."""


COLUMNS = tuple(field.name for field in fields(Entry))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The index of a batch, which is made if it is not there.

    Raises:
        UserError: It cannot be read or written.
    """
    path = folder / NAME
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=30.0)) as index:
            # Readers do not wait for the batch that writes, nor the batch for them.
            index.execute("PRAGMA journal_mode = WAL")
            index.execute("PRAGMA synchronous = NORMAL")
            columns = ", ".join(COLUMNS[1:])
            index.execute(f"CREATE TABLE IF NOT EXISTS rows (name PRIMARY KEY, {columns})")
            yield index
    except sqlite3.Error as error:
        # It calls a full disk an I/O error at times.
        full = ", the disk is full" if _is_full(folder) and "full" not in str(error) else ""
        raise UserError(
            f"{path}: cannot be used ({error}{full}); `gs3d batch index {folder}` makes it again"
        ) from None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < FEW_BYTES
    except OSError:
        return False


def put(index: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Write entries in place of those with their names."""
    with index:
        _put(index, entries)


def replace_all(index: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    """Write entries in place of all that are there."""
    with index:
        index.execute("DELETE FROM rows")
        _put(index, entries)


def _put(index: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    places = ", ".join("?" * len(COLUMNS))
    now = time.time()
    rows = [astuple(replace(entry, changed=now)) for entry in entries]
    index.executemany(f"INSERT OR REPLACE INTO rows VALUES ({places})", rows)


def entries(index: sqlite3.Connection) -> list[Entry]:
    """All entries, in the order of the list."""
    rows = index.execute(f"SELECT {', '.join(COLUMNS)} FROM rows ORDER BY number, name")
    return [Entry(*row) for row in rows]


def counts(found: Sequence[Entry]) -> dict[str, int]:
    """State -> number of rows, in the order of `State`; states without rows are left out."""
    numbers = {state: sum(e.state == state for e in found) for state in get_args(State)}
    return {state: number for state, number in numbers.items() if number}


def read(folder: Path) -> list[Entry]:
    """The entries of an index that may be read-only.

    Raises:
        UserError: There is none, or it is damaged.
    """
    path = (folder / NAME).absolute()
    # A file in a place without write access cannot be read as one that others write.
    for mode in ("mode=ro", "immutable=1"):
        try:
            place = f"{path.as_uri()}?{mode}"
            with contextlib.closing(sqlite3.connect(place, timeout=30.0, uri=True)) as index:
                return entries(index)
        except sqlite3.Error as error:
            fault = error
    raise UserError(f"{path}: cannot be read ({fault}); `gs3d batch index {folder}` makes it again")


def remove(folder: Path) -> None:
    """Delete the index of a batch that does not run."""
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{NAME}{suffix}").unlink(missing_ok=True)
