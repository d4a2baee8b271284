"""Atomic writes, and one-line messages for errors of the operating system."""

import contextlib
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import plyfile
import pytest
import torch

from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, Splats
from gs3d.io import FORMATS, MESH_SUFFIXES, load_splats, readable, save_splats
from gs3d.io.atomic import write_atomic
from gs3d.io.mesh import write_mesh


def one_splat() -> Splats:
    return Splats(
        torch.zeros(1, 3),
        torch.tensor([[1.0, 0, 0, 0]]),
        torch.full((1, 3), 0.1),
        torch.tensor([0.5]),
        torch.zeros(1, 1, 3),
    )


def assert_save_refused(path, message):
    with pytest.raises(UserError, match=message) as caught:
        save_splats(path, one_splat())
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def assert_only_old_file(path):
    assert path.read_bytes() == b"old"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "a.ply"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full. Free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only disk"),
        (errno.EIO, "the disk reports an I/O error"),
        (errno.ELOOP, os.strerror(errno.ELOOP)),
    ],
)
def test_errors_of_fsync(old, monkeypatch, number, message):
    def fail(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    assert_save_refused(old, message)
    assert_only_old_file(old)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(old, monkeypatch):
    write = plyfile.PlyData.write

    def write_to_full_disk(self, stream):
        with open("/dev/full", "wb") as full:
            write(self, full)

    monkeypatch.setattr(plyfile.PlyData, "write", write_to_full_disk)
    assert_save_refused(old, "the disk is full")
    assert_only_old_file(old)


@contextlib.contextmanager
def file_size_limit():
    """Make the kernel fail writes beyond 200 bytes of a file. Python ignores the signal.

    Use this only around the write under test: pytest's own output may be a file too.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


TOO_LARGE = "larger than this disk or your limits allow"


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_file_size_limit_for_splats(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    gen = torch.Generator().manual_seed(0)
    normal = torch.randn(100, 10, generator=gen)
    splats = Splats(
        normal[:, :3],
        normal[:, 3:7],
        (normal[:, 7:10] - 4).exp(),
        torch.full((100,), 0.5),
        torch.randn(100, 4, 3, generator=gen),
    )
    with file_size_limit(), pytest.raises(UserError, match=TOO_LARGE):
        save_splats(path, splats)
    assert_only_old_file(path)


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_file_size_limit_for_meshes(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    normals = np.tile(np.array([0, 0, 1], np.float32), (30, 1))
    vertices = np.random.default_rng(0).random((30, 3)).astype(np.float32)
    faces = np.arange(30, dtype=np.int32).reshape(10, 3)
    with file_size_limit(), pytest.raises(UserError, match=TOO_LARGE):
        write_mesh(path, Mesh(vertices, faces, normals, vertices))
    assert_only_old_file(path)


def test_a_simulated_read_only_folder(old, monkeypatch):
    """Simulated, because root may write anywhere."""
    real_open = os.open

    def fail_to_create(path, flags, *args, **kwargs):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real_open(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", fail_to_create)
    message = re.escape(f"you have no write permission for the folder {old.parent}")
    assert_save_refused(old, message)
    monkeypatch.undo()
    assert_only_old_file(old)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_real_read_only_folder(old):
    old.parent.chmod(0o500)
    try:
        assert_save_refused(old, "you have no write permission")
    finally:
        old.parent.chmod(0o700)
    assert_only_old_file(old)


def test_a_write_protected_file_is_kept(old, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert_save_refused(old, "write-protected")
    assert_only_old_file(old)


def test_invalid_targets_are_refused(tmp_path):
    assert_save_refused(tmp_path / "none" / "a.ply", "none does not exist. Create it")
    (tmp_path / "dir.ply").mkdir()
    assert_save_refused(tmp_path / "dir.ply", "it is a folder")
    (tmp_path / "file").write_text("")
    assert_save_refused(tmp_path / "file" / "a.ply", "is not a folder")
    assert_save_refused(tmp_path / ("n" * 300 + ".ply"), "the name is too long")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.ply")
        assert_save_refused(tmp_path / "pipe.ply", "device or a pipe")


def test_an_interrupt_leaves_the_old_file(old):
    def interrupt(temp):
        temp.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(old, interrupt, lambda temp: None)
    assert_only_old_file(old)


def test_a_failed_verification_leaves_the_old_file(old):
    def reject(temp):
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        write_atomic(old, lambda temp: temp.write_bytes(b"new"), reject)
    assert_only_old_file(old)


def test_a_symbolic_link_is_followed(old, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link.ply"
    link.symlink_to(old)
    save_splats(link, one_splat())
    assert link.is_symlink() and old.read_bytes().startswith(b"ply\n")


def test_an_unknown_suffix_lists_the_known_ones(tmp_path):
    message = r"cannot write .*a.xyz: expected a file name that ends in one of .*\.ply.*, got \.xyz"
    with pytest.raises(UserError, match=message):
        save_splats(tmp_path / "a.xyz", one_splat())
    with pytest.raises(UserError, match=r"cannot read .*a: expected .*\.ply.*, got no suffix"):
        load_splats(tmp_path / "a")


def test_suffixes_are_case_insensitive(tmp_path):
    save_splats(tmp_path / "A.PLY", one_splat())
    assert len(load_splats(str(tmp_path / "A.PLY"))) == 1


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_writer_works_with_its_reader(tmp_path, suffix):
    save_splats(tmp_path / f"a{suffix}", one_splat())
    if suffix in readable():
        assert len(load_splats(tmp_path / f"a{suffix}")) == 1


def test_importing_gs3d_io_imports_no_format():
    heavy = ("plyfile", "av", "PIL", "numba")
    code = f"import sys, gs3d.io; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
