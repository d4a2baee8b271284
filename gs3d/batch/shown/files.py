"""The files that show a batch: they are written while it works."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from gs3d.batch.shown import index
from gs3d.batch.shown.gallery import DATA, write_rows
from gs3d.batch.shown.index import Entry
from gs3d.batch.shown.tally import Tally
from gs3d.core.errors import UserError

INDEX_EVERY_S = 0.5
"""Seconds between two times that the index is written, at least."""
GALLERY_EVERY_S = 2.0
"""Seconds between two versions of what the gallery shows, at least."""
SHARE = 0.05
"""Part of the time that each of the two may take: of many rows, it takes longer."""


class Shown:
    """The index and the gallery of a batch. What cannot be written is said once, is written as soon
    as that works again, and stops nothing: the truth is in the folders of the rows."""

    def __init__(self, folder: Path, lines: dict[str, str], say: Callable[[str], None]):
        self._folder, self._lines, self._say = folder, lines, say
        self._said: set[str] = set()
        self._whole = False
        """Whether the index holds all rows, as they were when it was written last."""
        self._changed: dict[str, Entry] = {}
        """Name -> entry that changed since then."""
        self._stale = False
        """Whether an entry changed since the gallery was written last."""
        self._index_due = self._gallery_due = 0.0
        self._lock = threading.Lock()
        self._later: threading.Timer | None = None
        self._closed = False

    def all(self, tally: Tally) -> None:
        """Write all rows anew."""
        with self._lock:
            self._whole = False
            self._index(tally)
            self._gallery(tally)

    def close(self, tally: Tally) -> None:
        """Write all rows anew, for the last time."""
        with self._lock:
            self._closed = True
        self.all(tally)

    def one(self, entry: Entry, tally: Tally) -> None:
        """A row changed. It is written now, or soon with those that change meanwhile: an index that
        is opened for each event of a thousand rows takes longer than they do."""
        with self._lock:
            self._changed[entry.name], self._stale = entry, True
            self._write(tally)

    def _write(self, tally: Tally) -> None:
        """Write what is due, and the rest when it is, though no event may come by then."""
        if self._changed and time.monotonic() >= self._index_due:
            self._index(tally)
        if self._stale and time.monotonic() >= self._gallery_due:
            self._gallery(tally)
        dues = [self._index_due] * bool(self._changed) + [self._gallery_due] * self._stale
        if dues and self._later is None and not self._closed:
            wait_s = max(min(dues) - time.monotonic(), 0.0)
            self._later = threading.Timer(wait_s, self._at_last, [tally])
            self._later.daemon = True
            self._later.start()

    def _at_last(self, tally: Tally) -> None:
        with self._lock:
            self._later = None
            if not self._closed:
                self._write(tally)

    def _index(self, tally: Tally) -> None:
        began = time.monotonic()
        whole, self._whole = self._whole, False
        try:
            with index.opened(self._folder) as db:
                if whole:
                    index.put(db, list(self._changed.values()))
                else:
                    index.replace_all(db, list(tally.entries.values()))
            self._whole = True
            self._changed.clear()
        except UserError as error:
            self._warn(index.NAME, error)
        self._index_due = _next(began, INDEX_EVERY_S)

    def _gallery(self, tally: Tally) -> None:
        began = time.monotonic()
        self._stale = False
        try:
            write_rows(self._folder, list(tally.entries.values()), self._lines)
        except UserError as error:
            self._warn(DATA, error)
        self._gallery_due = _next(began, GALLERY_EVERY_S)

    def _warn(self, file: str, error: UserError) -> None:
        if file not in self._said:
            self._say(f"warning: {error.for_command_line.rstrip('.')}; the batch goes on")
        self._said.add(file)


def _next(began: float, every_s: float) -> float:
    """When something that began then, and has ended now, may be done again."""
    now = time.monotonic()
    return now + max(every_s, (now - began) / SHARE)
