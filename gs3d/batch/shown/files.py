"""The files that show a batch: they are written while it works."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gs3d.batch.shown import index
from gs3d.batch.shown.gallery import write_rows
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
    """The index and the gallery of a batch. What cannot be written is said once and stops nothing:
    the truth is in the folders of the rows."""

    def __init__(self, folder: Path, lines: dict[str, str], say: Callable[[str], None]):
        self._folder, self._lines, self._say = folder, lines, say
        self._said: set[str] = set()
        self._changed: dict[str, Entry] = {}
        """Name -> entry that the index lacks."""
        self._index_due = self._gallery_due = 0.0

    def all(self, tally: Tally) -> None:
        """Write all rows anew."""
        entries = list(tally.entries.values())
        self._index(entries, clear=True)
        self._gallery(entries)

    def one(self, entry: Entry, tally: Tally) -> None:
        """A row changed. It is written now, or with those that change soon after: an index that is
        opened for each event of a thousand rows takes longer than they do."""
        self._changed[entry.name] = entry
        if time.monotonic() >= self._index_due:
            self._index(list(self._changed.values()))
        if time.monotonic() >= self._gallery_due:
            self._gallery(list(tally.entries.values()))

    def _index(self, entries: Sequence[Entry], clear: bool = False) -> None:
        began = time.monotonic()
        try:
            with index.opened(self._folder) as db:
                if clear:
                    index.clear(db)
                index.put(db, entries)
            self._changed.clear()
        except UserError as error:
            self._warn(error)
        self._index_due = _next(began, INDEX_EVERY_S)

    def _gallery(self, entries: Sequence[Entry]) -> None:
        began = time.monotonic()
        try:
            write_rows(self._folder, entries, self._lines)
        except UserError as error:
            self._warn(error)
        self._gallery_due = _next(began, GALLERY_EVERY_S)

    def _warn(self, error: UserError) -> None:
        if error.for_command_line not in self._said:
            self._say(f"warning: {error.for_command_line}")
        self._said.add(error.for_command_line)


def _next(began: float, every_s: float) -> float:
    """When something that began then, and has ended now, may be done again."""
    now = time.monotonic()
    return now + max(every_s, (now - began) / SHARE)
