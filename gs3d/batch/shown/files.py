"""The files that show a batch: they are written while it works."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gs3d.batch.shown import index
from gs3d.batch.shown.gallery import DATA, write_rows
from gs3d.batch.shown.index import Entry
from gs3d.batch.shown.tally import Tally
from gs3d.core.errors import UserError

GALLERY_EVERY_S = 2.0
"""Seconds between two versions of what the gallery shows, at least."""


class Shown:
    """The index and the gallery of a batch. What cannot be written is said once, is written as soon
    as that works again, and stops nothing: the truth is in the folders of the rows."""

    def __init__(self, folder: Path, lines: dict[str, str], say: Callable[[str], None]):
        self._folder, self._lines, self._say = folder, lines, say
        self._said: set[str] = set()
        self._whole = True
        """Whether the index holds all that it was given."""
        self._due = 0.0

    def all(self, tally: Tally) -> None:
        """Write all rows anew."""
        entries = list(tally.entries.values())
        self._whole = False
        self._index(entries, entries)
        self._gallery(entries)

    def one(self, entry: Entry, tally: Tally) -> None:
        """Write a row that changed; the gallery now and then."""
        self._index([entry], list(tally.entries.values()))
        if time.monotonic() >= self._due:
            self._gallery(list(tally.entries.values()))

    def _index(self, changed: Sequence[Entry], entries: Sequence[Entry]) -> None:
        whole, self._whole = self._whole, False
        try:
            with index.opened(self._folder) as db:
                index.put(db, changed) if whole else index.replace_all(db, entries)
            self._whole = True
        except UserError as error:
            self._warn(index.NAME, error)

    def _gallery(self, entries: Sequence[Entry]) -> None:
        began = time.monotonic()
        try:
            write_rows(self._folder, entries, self._lines)
        except UserError as error:
            self._warn(DATA, error)
        now = time.monotonic()
        # Of many rows it takes longer, and may take a twentieth of the time.
        self._due = now + max(GALLERY_EVERY_S, 20 * (now - began))

    def _warn(self, file: str, error: UserError) -> None:
        if file not in self._said:
            self._say(f"warning: {error.for_command_line.rstrip('.')}; the batch goes on")
        self._said.add(file)
