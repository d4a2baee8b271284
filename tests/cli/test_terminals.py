"""Terminals and names that do not speak UTF-8, and narrow terminals."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from gs3d.cli.main import main
from gs3d.cli.progress import fitting
from gs3d.io import save_splats
from tests.cli.assets.files import ball
from tests.cli.commands import run

LATIN_NAME = os.fsdecode(b"caf\xe9")
"""A name in Latin-1, as old archives unpack; not UTF-8."""


def gs3d(*argv, cwd=None, **environ):
    return subprocess.run(
        [sys.executable, "-m", "gs3d", *argv],
        env={**os.environ, **environ},
        cwd=cwd,
        capture_output=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    save_splats(folder / "a.ply", ball(40))
    try:
        os.rename(folder / "a.ply", folder / f"{LATIN_NAME}.ply")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    return folder


@pytest.fixture
def encoded(folder, monkeypatch):
    """Run `gs3d` in this process, in that folder and with standard output and error in an encoding:
    (exit status, standard output, standard error). An own process takes seconds to start."""

    def encoded(encoding, *argv):
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2))
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            status = main([*argv])
            texts = []
            for stream in (out, err):
                stream.flush()
                texts.append(stream.buffer.getvalue())
        return status, *texts

    return encoded


@pytest.mark.parametrize(
    ("encoding", "argv"),
    [
        ("utf-8", ("info", f"{LATIN_NAME}.ply")),
        ("latin-1", ("info", f"{LATIN_NAME}.ply")),
        ("ascii", ("info", f"{LATIN_NAME}.ply")),
        ("utf-8", ("info", f"{LATIN_NAME}.ply", "--json")),
        ("latin-1", ("convert", f"{LATIN_NAME}.ply", f"{LATIN_NAME}.html")),
        ("utf-8", ("clean", f"{LATIN_NAME}.ply", "-o", f"{LATIN_NAME}2.spz", "--center")),
        ("ascii", ("render", f"{LATIN_NAME}.ply", "--size", "16", "--views", "1")),
    ],
)
def test_names_that_cannot_be_printed(encoded, encoding, argv):
    status, out, err = encoded(encoding, *argv)
    assert status == 0, err
    assert b"caf" in out


def test_names_that_cannot_be_printed_in_a_process(folder):
    done = gs3d("info", f"{LATIN_NAME}.ply", cwd=folder, PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 0 and b"caf" in done.stdout and b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_faults_about_names_that_cannot_be_printed(encoded, encoding):
    status, _, err = encoded(encoding, "info", f"{LATIN_NAME}-红.ply")
    assert status == 2 and len(err.splitlines()) == 1
    assert b"there is no such file" in err


@pytest.mark.parametrize("columns", ["1", "8", "0", "-3", "x"])
def test_help_in_a_narrow_terminal(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    status, out, _ = run(capsys, "clean", "--help")
    assert status == 0 and "--floaters" in out


ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOR = re.compile(r"\x1b\[[0-9;]*m")


def on_a_terminal(columns: int, *argv: str) -> str:
    """What `gs3d` prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {name: os.environ[name] for name in os.environ if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "gs3d", *argv],
        env={**env, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    try:
        while more := os.read(ours, 65536):
            said += more
    except OSError:  # how a terminal ends on Linux
        pass
    finally:
        os.close(ours)
    assert process.wait(timeout=120) == 0, said
    return said.decode()


def test_progress_fits_a_narrow_terminal(tmp_path):
    out = str(tmp_path / "run")
    said = on_a_terminal(50, "generate", "a blue chair", "--steps", "12", "--out", out)
    lines = [ESCAPE.sub("", line) for line in re.split(r"[\r\n]+", said)]
    live = [line for line in lines if re.search(r"\d+%", line)]
    assert max(map(len, live)) <= 50
    # What does not fit is left out; nothing is cut.
    full = re.compile(r"step \d+(  [\d.]+ it/s)?(  (\d+:\d\d|\?) left)?(  \d+ splats)?$")
    assert any(full.search(line.rstrip()) for line in live)
    assert all(full.search(line.rstrip()) for line in live if "step" in line)


def test_progress_leaves_out_the_last_parts_first():
    parts = ("step 12", "3.5 it/s", "0:10 left")
    assert [fitting(parts, width) for width in (100, 28, 27, 8, 1)] == [
        "step 12  3.5 it/s  0:10 left",
        "step 12  3.5 it/s  0:10 left",
        "step 12  3.5 it/s",
        "step 12",
        "step 12",
    ]


def test_colors_are_for_terminals_alone():
    assert not COLOR.search(gs3d("--help").stdout.decode())
    assert not COLOR.search(gs3d("clean", "--help").stdout.decode())
    assert COLOR.search(on_a_terminal(80, "clean", "--help"))
