"""A file is written whole or not at all, and what the operating system refuses is told in one line."""

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
from gs3d.io import MESH_SUFFIXES, READERS, WRITERS, load_splats, save_splats
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


def refused(path, message):
    with pytest.raises(UserError, match=message) as caught:
        save_splats(path, one_splat())
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def only_the_old_file(path):
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


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
        (errno.EIO, "the disk reports a fault"),
        (errno.ELOOP, os.strerror(errno.ELOOP)),
    ],
)
def test_faults_while_syncing(old, monkeypatch, number, message):
    def fail(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    refused(old, message)
    only_the_old_file(old)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_is_really_full(old, monkeypatch):
    whole = plyfile.PlyData.write

    def to_full_disk(self, stream):
        with open("/dev/full", "wb") as full:
            whole(self, full)

    monkeypatch.setattr(plyfile.PlyData, "write", to_full_disk)
    refused(old, "the disk is full")
    only_the_old_file(old)


@contextlib.contextmanager
def full_after_200_bytes():
    """The kernel itself cuts a file off in the middle of it. Python ignores the signal that goes with it.

    For no longer than a write: pytest's own output may be a file too.
    """
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_a_file_size_limit(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    gen = torch.Generator().manual_seed(0)
    normal = torch.randn(100, 10, generator=gen)
    many = Splats(
        normal[:, :3],
        normal[:, 3:7],
        (normal[:, 7:10] - 4).exp(),
        torch.full((100,), 0.5),
        torch.randn(100, 4, 3, generator=gen),
    )
    with (
        full_after_200_bytes(),
        pytest.raises(UserError, match="larger than this disk or your limits allow"),
    ):
        save_splats(path, many)
    only_the_old_file(path)


@pytest.mark.parametrize("suffix", MESH_SUFFIXES)
def test_a_file_size_limit_for_meshes(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    flat = np.tile(np.array([0, 0, 1], np.float32), (30, 1))
    corners = np.random.default_rng(0).random((30, 3)).astype(np.float32)
    with (
        full_after_200_bytes(),
        pytest.raises(UserError, match="larger than this disk or your limits allow"),
    ):
        write_mesh(path, Mesh(corners, np.arange(30, dtype=np.int32).reshape(10, 3), flat, corners))
    only_the_old_file(path)


def test_a_folder_that_is_read_only(old, monkeypatch):
    """Simulated, for a run as root may write anywhere."""
    real = os.open

    def fail(path, flags, *args, **more):
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *args, **more)

    monkeypatch.setattr(os, "open", fail)
    refused(old, re.escape(f"the folder {old.parent} is read-only for you"))
    monkeypatch.undo()
    only_the_old_file(old)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_is_really_read_only(old):
    old.parent.chmod(0o500)
    try:
        refused(old, "is read-only for you")
    finally:
        old.parent.chmod(0o700)
    only_the_old_file(old)


def test_a_write_protected_file_is_kept(old, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused(old, "write-protected")
    only_the_old_file(old)


def test_folders_and_devices(tmp_path):
    refused(tmp_path / "none" / "a.ply", "none does not exist. Create it")
    (tmp_path / "dir.ply").mkdir()
    refused(tmp_path / "dir.ply", "it is a folder")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file" / "a.ply", "is not a folder")
    refused(tmp_path / ("n" * 300 + ".ply"), "the name is too long")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.ply")
        refused(tmp_path / "pipe.ply", "device or a pipe")


def test_a_failed_check_and_an_interrupt_leave_the_old_file(old):
    def interrupt(temp):
        temp.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(old, interrupt, lambda temp: None)
    only_the_old_file(old)

    def reject(temp):
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        write_atomic(old, lambda temp: temp.write_bytes(b"new"), reject)
    only_the_old_file(old)


def test_a_link_is_followed(old, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link.ply"
    link.symlink_to(old)
    save_splats(link, one_splat())
    assert link.is_symlink() and old.read_bytes().startswith(b"ply\n")


def test_unknown_suffixes_list_the_known(tmp_path):
    with pytest.raises(
        UserError,
        match=r"cannot write .*a.xyz: expected a file name that ends in one of .*\.ply.*, got \.xyz",
    ):
        save_splats(tmp_path / "a.xyz", one_splat())
    with pytest.raises(UserError, match=r"cannot read .*a: expected .*\.ply.*, got no suffix"):
        load_splats(tmp_path / "a")


def test_suffixes_in_capitals(tmp_path):
    save_splats(tmp_path / "A.PLY", one_splat())
    assert len(load_splats(str(tmp_path / "A.PLY"))) == 1


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_every_format_that_is_read_too_keeps_a_splat(tmp_path, suffix):
    save_splats(tmp_path / f"a{suffix}", one_splat())
    if suffix in READERS:
        assert len(load_splats(tmp_path / f"a{suffix}")) == 1


def test_importing_export_imports_no_format():
    code = "import sys, gs3d.io; sys.exit(any(m in sys.modules for m in ('plyfile', 'av', 'PIL', 'numba')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
