"""Terminals and names that do not speak UTF-8, and narrow terminals."""

import os
import subprocess
import sys

import pytest

from gs3d.io import save_splats
from tests.cli.assets.files import ball

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


@pytest.mark.parametrize(
    ("encoding", "argv"),
    [
        ("utf-8:strict", ("info", f"{LATIN_NAME}.ply")),
        ("latin-1", ("info", f"{LATIN_NAME}.ply")),
        ("ascii", ("info", f"{LATIN_NAME}.ply")),
        ("utf-8:strict", ("info", f"{LATIN_NAME}.ply", "--json")),
        ("latin-1", ("convert", f"{LATIN_NAME}.ply", f"{LATIN_NAME}.html")),
        ("utf-8:strict", ("clean", f"{LATIN_NAME}.ply", "-o", f"{LATIN_NAME}2.spz", "--center")),
        ("ascii", ("render", f"{LATIN_NAME}.ply", "--size", "16", "--views", "1")),
    ],
)
def test_names_that_cannot_be_printed(folder, encoding, argv):
    done = gs3d(*argv, cwd=folder, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert b"caf" in done.stdout and b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8:strict", "latin-1", "ascii"])
def test_faults_about_names_that_cannot_be_printed(folder, encoding):
    done = gs3d("info", f"{LATIN_NAME}-红.ply", cwd=folder, PYTHONIOENCODING=encoding)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert b"there is no such file" in done.stderr


@pytest.mark.parametrize("columns", ["1", "8", "0", "-3", "x"])
def test_help_in_a_narrow_terminal(columns):
    done = gs3d("clean", "--help", COLUMNS=columns)
    assert done.returncode == 0 and b"--floaters" in done.stdout
