"""One process of a run: `gs3d generate`, which is killed at a moment, or ends."""

import contextlib
import importlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Moment = Literal["any", "write"]
REPLACE_S = 0.02
"""Seconds that a rename takes at least: a slow disk, so that kills hit files half-written."""


@dataclass(frozen=True)
class Kill:
    """When a process is killed."""

    moment: Moment
    target: str = ""
    """Of "write": the file, or "checkpoint", in the middle of whose writing it is killed."""
    count: int = 1
    """Of "write": at which of the times that it is written."""
    delay_s: float = 0.0
    """After the begin of the process ("any") or of the writing."""


@dataclass(frozen=True)
class Death:
    """How a process ended."""

    status: int
    """0, or what it ended with; negative for a signal."""
    half_written: tuple[str, ...] = ()
    """Files in the middle of whose writing it was killed."""


def live(
    argv: list[str],
    folder: Path,
    output: Path,
    kill: Kill | None = None,
    *,
    clock_off_s: float = 0.0,
    modules: Path | None = None,
) -> Death:
    """Run `gs3d` with `argv` in a process of its own, which writes to `folder`, and kill it.

    The process is a fork of this one, which may have imported everything, but has computed nothing:
    that saves most of a start. Its `time.time` is wrong by `clock_off_s`. It writes the names of
    its modules to `modules`, for `import_all`.
    """
    left = temporaries(folder)  # by the process before

    def being_written() -> list[str]:
        return sorted({target_of(path) for path in temporaries(folder) if path not in left})

    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        _child(argv, output, clock_off_s, modules)
    began = time.monotonic()
    status, times, before = None, 0, False
    due = None if kill is None or kill.moment == "write" else began + kill.delay_s
    while status is None:
        if kill is not None and due is None:
            written = kill.target in being_written()
            times, before = times + (written and not before), written
            if times == kill.count:
                due = time.monotonic() + kill.delay_s
        if due is not None and time.monotonic() >= due:
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.001)
        ended, found = os.waitpid(pid, os.WNOHANG)
        status = found if ended else None
    code = os.waitstatus_to_exitcode(status)
    return Death(code, tuple(being_written()) if code else ())


def import_all(modules: Path) -> None:
    """Import what `live` wrote to `modules`."""
    for name in modules.read_text().splitlines():
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def temporaries(folder: Path) -> list[Path]:
    """Files that are not yet, or never will be, what they are written for."""
    found: list[Path] = []
    for place in (folder, folder / "checkpoint"):
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            found += [Path(e.path) for e in entries if e.name.endswith(".tmp") or e.name[0] == "."]
    return [path for path in found if path.name != ".gs3d-running"]


def target_of(temporary: Path) -> str:
    """What a temporary file is for."""
    if temporary.parent.name == "checkpoint":
        return "checkpoint"
    name = temporary.name.removesuffix(".tmp")
    return name.rpartition(".")[0][1:] if name[0] == "." and name != temporary.name else name


def _child(argv: list[str], output: Path, clock_off_s: float, modules: Path | None) -> None:
    """Become `gs3d`; never returns."""
    status = 99
    try:
        handle = os.open(output, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        _slow_renames()
        real = time.time
        time.time = lambda: real() + clock_off_s
        from gs3d.cli.main import main

        print("gs3d", *argv, flush=True)
        status = main(argv)
        if modules is not None:
            modules.write_text("\n".join(sys.modules))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _slow_renames() -> None:
    replace = os.replace

    def slow(*args, **options) -> None:
        time.sleep(REPLACE_S)
        replace(*args, **options)

    os.replace = slow
