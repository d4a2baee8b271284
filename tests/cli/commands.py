"""Running commands in tests, in this process or in a process of their own."""

import os
import subprocess
import sys

from gs3d.cli.main import main


def run(capsys, *argv: str) -> tuple[int, str, str]:
    """Run `gs3d` in this process: (exit status, standard output, standard error)."""
    try:
        status = main(list(argv))
    except SystemExit as stop:  # usage errors and --help
        status = stop.code or 0
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def one_line_fault(capsys, *argv: str) -> str:
    """Standard error of a command that must fail with status 2 and exactly one line there."""
    status, _, err = run(capsys, *argv)
    assert status == 2, err
    assert "Traceback" not in err and len(err.strip().splitlines()) == 1, err
    return err


def run_without_reader(*argv: str) -> subprocess.CompletedProcess:
    """Run `gs3d` in a process with a pipe as standard output that nothing reads."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return run_into(writer, *argv)
    finally:
        os.close(writer)


def run_into(stdout, *argv: str) -> subprocess.CompletedProcess:
    """Run `gs3d` in a process that writes to the file or descriptor `stdout`."""
    return subprocess.run(
        [sys.executable, "-m", "gs3d", *argv],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
