"""What is there of the rows of a batch, by run.yaml of each: the truth about them."""

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gs3d.batch.remote.folder import BUCKETS, Remote, opened, why
from gs3d.batch.remote.upload import RECORD
from gs3d.core.errors import UserError
from gs3d.io import result_file
from gs3d.runs.folders import parsed_record, run_yaml
from gs3d.runs.history import has_ended

URL = "url.txt"
"""File in the folder of a batch whose rows are at a URL: that URL."""
COPIES_AT_ONCE = 8
"""Each waits for two answers, of some tenths of a second."""


@dataclass(frozen=True)
class Found:
    """A run that has begun."""

    record: dict[str, Any]
    """What its run.yaml holds; empty if that is damaged."""
    ended: bool
    """Whether it has ended, and its splats or mesh are there."""


@dataclass
class Results:
    """The folders of the rows: in that of the batch, or at a URL."""

    folder: Path
    place: Remote | None = None
    _texts: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def read(self, names: Sequence[str]) -> None:
        """Read what is at a URL of many rows at once, which `find` then knows. In a folder they
        are read one by one.

        Raises:
            UserError: The URL cannot be read.
        """
        if self.place is None:
            return
        try:
            texts = self.place.read([f"{name}/{RECORD}" for name in names])
        except Exception as error:
            raise UserError(f"--out {self.place.url}: cannot be read ({why(error)})") from None
        self._texts = {path.rpartition("/")[0]: text for path, text in texts.items()}

    def find(self, name: str) -> Found | None:
        """The run of a row; None if it has not begun."""
        if self.place is not None:
            if (text := self._texts.get(name)) is None:
                return None
            record = parsed_record(text) or {}
            return Found(record, _has_result(record))  # run.yaml came last
        folder = self.folder / name
        record = run_yaml(folder)
        if record is None and not (folder / RECORD).exists():
            return None
        return Found(record or {}, _has_result(record) and result_file(folder) is not None)

    def where(self, name: str) -> str:
        """The folder of a row, or its URL."""
        return str(self.folder / name) if self.place is None else self.place.under(name).url

    def copy(self, name: str, file: str) -> None:
        """Copy a small file of a row from a URL into its folder in that of the batch, if it is
        there and can be read."""
        if self.place is not None:
            with contextlib.suppress(Exception):
                self.place.get(f"{name}/{file}", self.folder / name / file)


class Copies:
    """Copies of small files from a bucket, in threads: the batch does not wait for them, since in
    that time it could hear of hundreds of rows. At the end it does. As a context that an exception
    leaves, or after `stop`, those that have not begun are left out."""

    def __init__(self, results: Results):
        place = results.place
        # Of other file systems it is not known whether threads may share one.
        aside = place is not None and place.url.partition("://")[0] in BUCKETS
        self._results, self._stopped = results, False
        self._pool = ThreadPoolExecutor(COPIES_AT_ONCE) if aside else None

    def add(self, name: str, file: str) -> None:
        """Copy a file as `Results.copy` does."""
        if self._pool is None:
            self._results.copy(name, file)
        else:
            self._pool.submit(self._results.copy, name, file)

    def stop(self) -> None:
        self._stopped = True

    def __enter__(self) -> "Copies":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=self._stopped or kind is not None)


def _has_result(record: dict[str, Any] | None) -> bool:
    """Whether a run has ended and could write its splats or mesh."""
    if record is None or not has_ended(record):
        return False
    return bool(record["result"].get("splats") or record["result"].get("triangles"))


def results_in(folder: Path) -> Results:
    """The results of a batch that was begun in `folder`. `UserError` if its URL is none."""
    path = folder / URL
    return Results(folder, opened(path.read_text("utf-8").strip()) if path.exists() else None)
