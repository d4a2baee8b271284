"""Compressed .ply, reading: files of other programs, and invalid or damaged files."""

import struct

import numpy as np
import pytest
import torch

from gs3d.io import DroppedRows, load_splats
from gs3d.io.splats.compressed_ply import write_compressed
from tests.io.splats.samples import (
    SH_C0,
    assert_refused,
    change_bytes,
    random_splats,
    read_ignoring_damage,
)


def refused(path, message):
    assert_refused(path, message, load_splats)


def header_and_body(tmp_path, count=6, degree=1) -> tuple[bytes, bytes]:
    """Header and rows of a valid file."""
    write_compressed(tmp_path / "good.ply", random_splats(count, degree))
    header, _, body = (tmp_path / "good.ply").read_bytes().partition(b"end_header\n")
    return header + b"end_header\n", body


def test_files_without_color_bounds(tmp_path):
    """In the first version of the format, colors are fractions of 1."""
    header, body = header_and_body(tmp_path, degree=0)
    for name in ("min_r", "min_g", "min_b", "max_r", "max_g", "max_b"):
        header = header.replace(f"property float {name}\n".encode(), b"")
    rows = bytearray(body[72:])
    rows[12:16] = struct.pack("<I", 255 << 24 | 0 << 16 | 51 << 8 | 102)
    (tmp_path / "a.ply").write_bytes(header + body[:48] + rows)
    got = load_splats(tmp_path / "a.ply")
    assert torch.allclose(0.5 + SH_C0 * got.sh[0, 0], torch.tensor([1, 0, 0.2]), atol=1e-6)
    assert abs(got.opacities[0] - 0.4) < 1e-6


def test_invalid_rows_are_dropped_with_a_warning(tmp_path):
    header, body = header_and_body(tmp_path, count=300)
    (tmp_path / "a.ply").write_bytes(header + body[:72] + b"\xff" * 4 + body[76:])
    with pytest.warns(DroppedRows, match="a.ply: 44 of 300 rows hold NaN") as caught:
        assert len(load_splats(tmp_path / "a.ply")) == 256
    assert (caught[0].message.dropped, caught[0].message.total) == (44, 300)
    (tmp_path / "a.ply").write_bytes(header + b"\xff" * 144 + body[144:])
    refused(tmp_path / "a.ply", "all 300 rows hold NaN")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            b"element vertex 6",
            b"element vertex 9999999999",
            "expected 39062500 chunks for 9999999999 splats, got 1",
        ),
        (
            b"element vertex 6",
            b"element vertex 200",
            "expected 200 rows of 9, 24 or 45 SH coefficients, got 6 of 9",
        ),
        (b"element sh 6", b"element sh 7", "expected 6 rows of .*, got 7 of 9"),
        (b"element vertex 6", b"element vertex 0", "expected at least one splat, got 0"),
        (b"element chunk 1", b"element chunk 99999999999", "expected 1 chunks for 6 splats"),
        (b"element chunk", b"element junk", "expected the element chunk"),
        (
            b"property float max_z\n",
            b"",
            "expected the properties of a compressed PLY in the element chunk",
        ),
        (b"float min_x", b"double min_x", "expected the properties of a compressed PLY"),
        (
            b"uchar f_rest_8",
            b"uchar f_rest_9",
            "expected the properties of a compressed PLY in the element sh",
        ),
        (b"property uchar f_rest_8\n", b"", "got 6 of 8"),
        (
            b"uint packed_scale",
            b"list uchar uint packed_scale",
            "expected one number per property, got the list packed_scale",
        ),
        (
            b"binary_little_endian",
            b"ascii",
            "expected a compressed PLY in binary_little_endian, got ascii",
        ),
        (b"front+z", b"front-z", "of a newer gs3d"),
    ],
)
def test_invalid_headers_are_refused(tmp_path, old, new, message):
    header, body = header_and_body(tmp_path)
    assert header.count(old) == 1
    (tmp_path / "a.ply").write_bytes(header.replace(old, new) + body)
    refused(tmp_path / "a.ply", message)


def test_a_false_row_count_is_never_allocated(tmp_path):
    header, body = header_and_body(tmp_path, degree=0)
    header = header.replace(b"chunk 1", b"chunk 39062500")
    header = header.replace(b"vertex 6", b"vertex 9999999999")
    (tmp_path / "a.ply").write_bytes(header + body)
    refused(tmp_path / "a.ply", "cut short: the header declares 39062500 chunk, 9999999999 vertex")


def test_files_cut_short_are_refused(tmp_path):
    header, body = header_and_body(tmp_path)
    end = len(header)
    for length in (0, 3, 40, end - 1, end, end + 71, end + len(body) - 1):
        (tmp_path / "a.ply").write_bytes((header + body)[:length])
        refused(tmp_path / "a.ply", "cannot read")


def test_random_damage_never_gives_a_traceback(tmp_path):
    header, body = header_and_body(tmp_path, count=3)
    data, rng = np.frombuffer(header + body, np.uint8), np.random.default_rng(0)
    for _ in range(300):
        start = data[: rng.integers(1, len(data) + 1)] if rng.random() < 0.3 else data
        (tmp_path / "b.ply").write_bytes(change_bytes(start, rng))
        read_ignoring_damage(tmp_path / "b.ply", load_splats)
