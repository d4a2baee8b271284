""".spz, reading: files of other programs (versions 1 to 4), and invalid or damaged files."""

import contextlib
import gzip
import struct
import tracemalloc

import numpy as np
import pytest
import torch

from gs3d.io import DroppedRows
from gs3d.io.splats.spz import read_spz, write_spz
from gs3d.raster.reference import rotations
from tests.io.splats.samples import (
    assert_refused,
    change_bytes,
    random_splats,
    read_ignoring_damage,
    spz_header,
    spz_streams,
    spz_versions,
)


def refused(path, message):
    assert_refused(path, message, read_spz)


# Files of other programs


@pytest.mark.parametrize("version", [1, 2, 3])
def test_minimal_files_of_each_version(tmp_path, version):
    if version == 1:
        position = struct.pack("<3e", -0.25, 1, 0.5)
    else:
        position = bytes.fromhex("00fcff 001000 000800")
    streams = position + spz_streams(version)[len(position) :]
    (tmp_path / "a.spz").write_bytes(gzip.compress(spz_header(version) + streams))
    back = read_spz(tmp_path / "a.spz")
    assert back.means.tolist() == [[0.5, -0.25, 1]] and back.opacities.tolist() == [1]
    assert torch.allclose(back.scales, torch.full((1, 3), -4.0).exp())
    file_to_world = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    tolerance = 0.01 if version == 3 else 0.03
    assert torch.allclose(rotations(back.quats)[0], file_to_world, atol=tolerance)


def test_degree_4_is_cut_with_a_warning(tmp_path):
    path = tmp_path / "a.spz"
    path.write_bytes(gzip.compress(spz_header(degree=4, count=2) + spz_streams(count=2, degree=4)))
    with pytest.warns(UserWarning, match="SH coefficients of degree 4 are dropped"):
        assert read_spz(path).sh.shape == (2, 16, 3)


@pytest.mark.parametrize("flag", [0, 1])
def test_the_mark_of_antialiasing_is_named(tmp_path, flag, recwarn):
    path = tmp_path / "a.spz"
    path.write_bytes(gzip.compress(spz_header(flags=flag) + spz_streams()))
    assert len(read_spz(path)) == 1
    expected = ["is marked as antialiased"] * flag
    assert [text in str(w.message) for w, text in zip(recwarn, expected, strict=True)] == [
        True
    ] * flag


@pytest.mark.parametrize(("axes", "warns"), [(4, False), (0, False), (6, True)])
def test_extensions(tmp_path, axes, warns):
    orbit = struct.pack("<IIfff", 0xADBE0002, 12, 0, 1, 2)
    extensions = orbit + struct.pack("<III", 0xADBE0003, 4, axes)
    path = tmp_path / "a.spz"
    path.write_bytes(gzip.compress(spz_header(flags=2) + spz_streams() + extensions))
    warning = pytest.warns(UserWarning, match="axes other than RUB")
    with warning if warns else contextlib.nullcontext():
        assert len(read_spz(path)) == 1


def test_float16_positions_that_are_not_finite_are_dropped(tmp_path):
    positions = struct.pack("<6e", 0, 0, 0, float("nan"), 0, 0)
    data = spz_header(1, 2) + positions + spz_streams(1, 2)[12:]
    (tmp_path / "a.spz").write_bytes(gzip.compress(data))
    with pytest.warns(DroppedRows, match="1 of 2 rows hold NaN"):
        assert len(read_spz(tmp_path / "a.spz")) == 1


# Invalid files


def zipped(data: bytes) -> bytes:
    """As `gzip.compress`, without the time: the names of the tests must not depend on it."""
    return gzip.compress(data, mtime=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with the magic of gzip or with NGSP, got b''"),
        (b"ply\nformat", "begins with the magic of gzip or with NGSP, got b'ply"),
        (zipped(b""), "expected a header of 16 bytes"),
        (
            zipped(spz_header(magic=b"NOPE") + spz_streams()),
            "expected a header of 16 bytes that begins with NGSP, got 16 bytes: b'NOPE'",
        ),
        (
            zipped(spz_header(4) + spz_streams()),
            "expected an .spz of version 1, 2, 3, got 4",
        ),
        (zipped(spz_header(0) + spz_streams()), "version 1, 2, 3, got 0"),
        (spz_header(9) + spz_streams(), "expected an .spz of version 4, got 9"),
        (zipped(spz_header(count=0)), "expected at least one splat, got 0"),
        (zipped(spz_header(degree=5) + spz_streams()), "expected a degree up to 4"),
        (
            zipped(spz_header(bits=25) + spz_streams()),
            "up to 24 fractional bits, got 0 and 25",
        ),
        (zipped(spz_header(flags=0x80) + spz_streams()), "levels of detail"),
        (
            zipped(spz_header(count=2**32 - 1) + spz_streams()),
            "cut short: the header declares 4294967295 splats",
        ),
        (
            zipped(spz_header(count=3) + spz_streams(count=2)),
            "cut short: the header declares 60 bytes of 3 splats, got 40",
        ),
        (zipped(spz_header() + spz_streams() + b"more"), "got more"),
        (
            zipped(spz_header() + spz_streams())[:-6] + b"\0" * 6,
            "gzip stream is damaged",
        ),
    ],
)
def test_invalid_headers_and_streams_are_refused(tmp_path, data, message):
    (tmp_path / "a.spz").write_bytes(data)
    refused(tmp_path / "a.spz", message)


@pytest.mark.parametrize("version", spz_versions())
def test_files_cut_short_are_refused(tmp_path, version):
    write_spz(tmp_path / "a.spz", random_splats(4, 1), version=version)
    data = (tmp_path / "a.spz").read_bytes()
    for length in range(len(data)):
        (tmp_path / "a.spz").write_bytes(data[:length])
        refused(tmp_path / "a.spz", "cannot read")


@pytest.mark.parametrize("version", spz_versions())
def test_random_damage_never_gives_a_traceback(tmp_path, version):
    write_spz(tmp_path / "a.spz", random_splats(4, 1), version=version)
    data = np.frombuffer((tmp_path / "a.spz").read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(200):
        (tmp_path / "b.spz").write_bytes(change_bytes(data, rng))
        read_ignoring_damage(tmp_path / "b.spz", read_spz)


def memory_of_refusal(path, message) -> int:
    """Peak of the bytes that are allocated until the file is refused."""
    tracemalloc.start()
    refused(path, message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("flags", [0, 2])
def test_a_gzip_bomb_is_not_decompressed(tmp_path, flags):
    (tmp_path / "a.spz").write_bytes(zipped(spz_header(flags=flags) + bytes(100_000_000)))
    assert memory_of_refusal(tmp_path / "a.spz", "got more") < 5_000_000


def version_4_head(count: int = 1, streams: int = 5, table: int = 32) -> bytes:
    return b"NGSP" + struct.pack("<IIBBBBI12x", 4, count, 0, 12, 0, streams, table)


def test_a_zstd_bomb_is_not_decompressed(tmp_path):
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "a.spz"
    for write_content_size in (True, False):
        compressor = zstandard.ZstdCompressor(write_content_size=write_content_size)
        bomb = compressor.compress(bytes(100_000_000))
        for plain in (9, 100_000_000):
            table = struct.pack("<QQ", len(bomb), plain) + bytes(64)
            path.write_bytes(version_4_head() + table + bomb)
            assert memory_of_refusal(path, "cannot read") < 5_000_000
    path.write_bytes(version_4_head(count=2**31 - 1) + bytes(200))
    assert memory_of_refusal(path, "more than 232 bytes can hold") < 5_000_000


@pytest.mark.parametrize(("table", "streams"), [(0, 5), (2**32 - 1, 5), (32, 6)])
def test_an_invalid_stream_table_is_refused(tmp_path, table, streams):
    path = tmp_path / "a.spz"
    path.write_bytes(version_4_head(streams=streams, table=table) + bytes(200))
    refused(path, "expected a table of 5 streams")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.spz", "there is no such file")
    (tmp_path / "dir.spz").mkdir()
    refused(tmp_path / "dir.spz", "it is a folder")
