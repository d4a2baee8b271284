"""The cache folder: fallbacks without a writable home, and rejection of unsafe folders."""

import os
import tempfile
from pathlib import Path

import pytest

from gs3d.core.errors import UserError
from gs3d.core.runtime.cache import cache_dir

needs_posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs numeric user ids")


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch):
    """An empty temporary folder. The home is a file, so that even root cannot write to it."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.write_text("not a folder")
    temporary.mkdir()
    monkeypatch.delenv("GS3D_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def test_gs3d_cache_variable_sets_the_folder(temporary_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GS3D_CACHE", str(tmp_path / "mine"))
    assert cache_dir("numba") == tmp_path / "mine" / "numba" and cache_dir("numba").is_dir()


@needs_posix
def test_unusable_home_falls_back_to_the_temporary_folder(temporary_folder):
    assert cache_dir("numba") == temporary_folder / f"gs3d-{os.getuid()}" / "numba"
    assert (temporary_folder / f"gs3d-{os.getuid()}").stat().st_mode & 0o077 == 0


@needs_posix
def test_read_only_home_falls_back_to_the_temporary_folder(temporary_folder, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    real_access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: "other" not in str(path) and real_access(path, mode)
    )
    assert cache_dir() == temporary_folder / f"gs3d-{os.getuid()}"


@needs_posix
def test_unknown_home_falls_back_to_the_temporary_folder(temporary_folder, monkeypatch):
    def no_home(cls):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(no_home))
    assert cache_dir() == temporary_folder / f"gs3d-{os.getuid()}"


def test_no_writable_folder_raises_user_error(temporary_folder, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", os.environ["HOME"])
    with pytest.raises(UserError, match="set GS3D_CACHE"):
        cache_dir()


@needs_posix
def test_temporary_folder_writable_by_others_raises_user_error(temporary_folder):
    folder = temporary_folder / f"gs3d-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UserError, match="other users can write to it.*GS3D_CACHE"):
        cache_dir()


def test_unwritable_gs3d_cache_raises_user_error(temporary_folder, monkeypatch):
    monkeypatch.setenv("GS3D_CACHE", os.environ["HOME"])
    with pytest.raises(UserError, match="GS3D_CACHE=.*cannot be written"):
        cache_dir("numba")
