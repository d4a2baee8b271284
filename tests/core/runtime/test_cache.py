"""The cache folder: a home that is missing or read-only is no fault, and a folder that somebody else laid is not trusted."""

import os
import tempfile
from pathlib import Path

import pytest

from gs3d.core.errors import UserError
from gs3d.core.runtime.cache import cache_dir

posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="users by number")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A home that is a file, which not even root can make a folder in, and a temporary folder of this test's own."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.write_text("no folder")
    temporary.mkdir()
    monkeypatch.delenv("GS3D_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def test_the_variable_is_followed(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("GS3D_CACHE", str(tmp_path / "mine"))
    assert cache_dir("numba") == tmp_path / "mine" / "numba" and cache_dir("numba").is_dir()


@posix
def test_without_a_home_it_is_a_temporary_folder(machine):
    assert cache_dir("numba") == machine / f"gs3d-{os.getuid()}" / "numba"
    assert (machine / f"gs3d-{os.getuid()}").stat().st_mode & 0o077 == 0


@posix
def test_a_read_only_home(machine, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    may = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: "other" not in str(path) and may(path, mode)
    )
    assert cache_dir() == machine / f"gs3d-{os.getuid()}"


@posix
def test_no_home_known_at_all(machine, monkeypatch):
    def unknown(cls):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(unknown))
    assert cache_dir() == machine / f"gs3d-{os.getuid()}"


def test_nowhere_to_write(machine, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", os.environ["HOME"])
    with pytest.raises(UserError, match="set GS3D_CACHE"):
        cache_dir()


@posix
def test_a_temporary_folder_that_others_may_change_is_refused(machine):
    folder = machine / f"gs3d-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UserError, match="not this user's own.*GS3D_CACHE"):
        cache_dir()


def test_a_variable_that_cannot_be_followed_is_named(machine, monkeypatch):
    monkeypatch.setenv("GS3D_CACHE", os.environ["HOME"])
    with pytest.raises(UserError, match="GS3D_CACHE=.*cannot be written"):
        cache_dir("numba")
