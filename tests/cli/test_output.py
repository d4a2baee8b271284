"""Output that cannot be written: closed pipes, full disks and closed terminals."""

import sys
import time
from pathlib import Path

import pytest
import torch

from gs3d.cli.main import main
from gs3d.cli.progress import Progress
from gs3d.distill.budget import Budget
from gs3d.distill.step import StepLog
from tests.cli.commands import run_into, run_without_reader

RESULTS = ("splats.ply", "preview.png", "turntable.mp4")


@pytest.mark.parametrize("argv", [["vocab"], ["--help"], ["generate", "--help"]])
def test_closed_pipe_is_no_error(argv):
    done = run_without_reader(*argv)
    assert (done.returncode, done.stderr) == (0, "")


def test_run_continues_after_a_closed_pipe(tiny, tmp_path):
    done = run_without_reader("generate", "a rad mushroom", "--steps", "2", *tiny)
    assert (done.returncode, done.stderr) == (0, "")
    assert all((tmp_path / "run" / name).stat().st_size for name in RESULTS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_run_continues_when_the_disk_of_its_output_is_full(tiny, tmp_path, monkeypatch):
    with open("/dev/full", "w") as disk, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", disk)
        assert main(["generate", "a red mushroom", "--steps", "2", *tiny]) == 0
    assert all((tmp_path / "run" / name).stat().st_size for name in RESULTS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_disk_is_an_error_of_a_command_that_only_prints():
    with open("/dev/full", "w") as disk:
        done = run_into(disk, "vocab")
    assert done.returncode == 2
    expected = "gs3d: standard output cannot be written (No space left"
    assert done.stderr.startswith(expected)


class ClosingTerminal:
    """A terminal that raises an error at every write once `closed` is set."""

    closed, encoding = False, "utf-8"

    def isatty(self):
        return True

    def write(self, text):
        if self.closed:
            raise OSError(5, "Input/output error")

    def flush(self):
        self.write("")


def test_progress_survives_a_closed_terminal(monkeypatch):
    terminal, stderr = ClosingTerminal(), sys.stderr
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", terminal)
    with Progress() as progress:
        progress.say("before")
        terminal.closed = True
        entry = StepLog(
            step=1,
            progress=0.5,
            loss=torch.ones(()),
            grad_norm=torch.ones(()),
            count=1,
            counts="splats",
            skipped=False,
            values={},
        )
        progress.update(entry, Budget(10, None, 0.0, time.monotonic()))
        progress.say("after")
    assert sys.stderr is stderr and sys.stdout is not terminal
