"""The folder of a row on its way to a URL: now and then while it runs, and whole at its end."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gs3d.batch.remote.folder import Remote, why
from gs3d.core.errors import UserError
from gs3d.core.runtime.threads import meanwhile
from gs3d.runs.folders import run_yaml

RECORD = "run.yaml"
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each new attempt to write a file."""
LOOK_S = 1.0
"""Seconds between looks for a new checkpoint."""
SHARE = 0.1
"""Uploads while a row runs take at most this share of its time."""


@dataclass
class Upload:
    """A run's folder and its place at a URL."""

    folder: Path
    place: Remote
    sent: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Name -> time and size of each file that is there as it is here."""

    def whole(self, alive: Callable[[], None] = lambda: None) -> None:
        """Upload what is new in the folder of a run that has ended, run.yaml last. Each file is
        tried again, after growing waits. `alive` is called before each attempt.

        Raises:
            UserError: A file cannot be written. The folder stays.
        """
        try:
            self._send(WAITS_S, (self.folder / RECORD).read_bytes(), alive)
        except Exception as error:
            raise UserError(f"cannot be uploaded to {self.place.url} ({why(error)})") from None

    def unfinished(self) -> None:
        """The same with one attempt, for a run that goes on, if it has a new checkpoint. Raises
        what the file system does."""
        newest = _newest(self.folder)
        if newest is None or newest.relative_to(self.folder).as_posix() in self.sent:
            return
        # Read now: once it says that the run has ended, it has to be the last.
        record = (self.folder / RECORD).read_bytes()
        if (run_yaml(self.folder) or {"result": True}).get("result") is None:
            # These are no signs of life: they are tried without end beside a run that hangs.
            self._send((), record, lambda: None)

    def _send(self, waits: tuple[float, ...], record: bytes, alive: Callable[[], None]) -> None:
        newest = _newest(self.folder)
        for file in sorted(self.folder.rglob("*")):
            name = file.relative_to(self.folder).as_posix()
            of_checkpoint = file.parent.name == "checkpoint" and file != newest
            if name == RECORD or of_checkpoint or _is_temporary(file) or not file.is_file():
                continue
            try:
                state = file.stat()
                mark = (state.st_mtime_ns, state.st_size)
                if self.sent.get(name) != mark:
                    _put(self.place, name, file, waits, alive)
                    self.sent[name] = mark
            except FileNotFoundError:
                if file.exists():
                    raise  # it is the place that is not there; otherwise the run has replaced it
        _put(self.place, RECORD, record, waits, alive)
        # Only now: until here another process would go on from the one before.
        if newest is not None:
            self._delete_older(newest.name)

    def _delete_older(self, newest: str) -> None:
        """Delete checkpoints that another one has replaced."""
        for name in self.place.under("checkpoint").files():
            if name != newest:
                with contextlib.suppress(FileNotFoundError):
                    self.place.delete(f"checkpoint/{name}")


@contextlib.contextmanager
def following(upload: Upload, warn: Callable[[str], None]) -> Iterator[None]:
    """Upload each new checkpoint while a run goes on, in a thread. What fails is said once, and
    tried again with the next one."""

    def follow(ended: threading.Event) -> None:
        said, wait_s = False, LOOK_S
        while not ended.wait(wait_s):
            began = time.monotonic()
            try:
                upload.unfinished()
            except Exception as error:
                if not said:
                    warn(f"its checkpoint cannot be uploaded to {upload.place.url} ({why(error)})")
                said = True
            wait_s = max(LOOK_S, (time.monotonic() - began) / SHARE)

    with meanwhile(follow):
        yield


def newest_step(names: list[str]) -> str:
    """The newest checkpoint among the names of a run's files; "" if there is none."""
    steps = (name for name in names if name.startswith("checkpoint/step_"))
    return max((name for name in steps if name.endswith(".safetensors")), default="")


def _newest(folder: Path) -> Path | None:
    return max(folder.glob("checkpoint/step_*.safetensors"), default=None)


def _is_temporary(file: Path) -> bool:
    return file.name.startswith(".") or file.suffix in (".tmp", ".part")


def _put(
    place: Remote,
    name: str,
    content: Path | bytes,
    waits: tuple[float, ...],
    alive: Callable[[], None],
) -> None:
    """Write a file, and try again after each wait. `alive` is called before each attempt."""
    for wait_s in (*waits, None):
        alive()
        try:
            place.put(name, content)
            return
        except Exception:
            if wait_s is None or (isinstance(content, Path) and not content.exists()):
                raise
            time.sleep(wait_s)
