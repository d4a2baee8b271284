"""Evaluations that take little time: runs in processes that are forked, which need not import
everything anew, and few reference objects. Imports of torch, numba and transformers take longer
than a small run, and the references of a prompt longer than both."""

import functools
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from types import SimpleNamespace
from typing import IO

from gs3d.evaluation import pooled, results
from gs3d.evaluation.reference import reference_for
from gs3d.experiments import sweep
from tests import small

LONGEST_S = 120.0
"""Seconds after which a run counts as one that hangs."""


class Forked:
    """In place of `subprocess.Popen`, for a command that begins with `small.GS3D`."""

    def __init__(self, command: Sequence[str], stdout: IO[str], stderr: int):
        assert tuple(command[:2]) == small.GS3D
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _become(list(command[2:]), stdout.fileno())

    def wait(self) -> int:
        """Its status. A fork may wait for a lock that a thread of its parent held: it is killed."""
        deadline = time.monotonic() + LONGEST_S
        while (found := os.waitpid(self.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        return os.waitstatus_to_exitcode(found[1])

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


def _become(argv: list[str], output: int) -> None:
    """Run `gs3d` in this child process with its output in a file, and end it."""
    status = 1
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["gs3d", *argv]
        status = small.main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def use_few_references(monkeypatch) -> None:
    """Let grades compare with two reference objects instead of 24."""
    few = functools.partial(reference_for, objects=2)
    monkeypatch.setattr(results, "_reference", functools.cache(few))
    monkeypatch.setattr(pooled, "REFERENCES", 2)


def use_quick_sweeps(monkeypatch) -> None:
    """Let evaluations of this process make small runs in forked processes and grade them by few
    references."""
    monkeypatch.setattr(sweep, "GS3D", small.GS3D)
    forking = SimpleNamespace(Popen=Forked, STDOUT=subprocess.STDOUT)
    monkeypatch.setattr(sweep, "subprocess", forking)
    use_few_references(monkeypatch)
