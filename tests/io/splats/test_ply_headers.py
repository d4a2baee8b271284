"""PLY, reading: headers and numbers as other programs write them, and other elements."""

import time

import numpy as np
import pytest

from gs3d.io import DroppedRows
from gs3d.io.splats.ply import read_ply
from tests.io.splats.samples import (
    assert_refused,
    close,
    replace_bytes,
    valid_ply_rows,
    write_foreign_ply,
)


def refused(path, message):
    assert_refused(path, message, read_ply)


HEADS = {
    "a blank after ply": (b"ply\n", b"ply \n"),
    "a blank after end_header": (b"end_header\n", b"end_header \n"),
    "another end of the last line": (b"end_header\n", b"end_header\r\n"),
    "another end of the first line": (b"ply\n", b"ply\r\n"),
}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("text", [False, True])
def test_headers_with_blanks_and_mixed_line_ends_are_read(tmp_path, kind, text):
    rows, expected = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows, text=text)
    replace_bytes(tmp_path / "a.ply", *HEADS[kind])
    assert close(read_ply(tmp_path / "a.ply").means, expected.means)


def test_a_line_feed_after_a_header_of_carriage_returns_is_data(tmp_path):
    rows, _ = valid_ply_rows(tmp_path)
    rows["x"][0] = np.frombuffer(b"\n\0\0\x3f", "<f4")[0]
    write_foreign_ply(tmp_path / "a.ply", rows)
    header, end, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    (tmp_path / "a.ply").write_bytes((header + end).replace(b"\n", b"\r") + body)
    assert read_ply(tmp_path / "a.ply").means[0, 1] == -rows["x"][0]


@pytest.mark.parametrize(("byte_order", "code"), [("<", "little"), (">", "big")])
def test_elements_with_lists_before_the_splats_are_skipped(tmp_path, byte_order, code):
    rows, expected = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows, byte_order=byte_order)
    before = b"element face 2\nproperty short id\nproperty list ushort int corners\n"
    replace_bytes(tmp_path / "a.ply", b"element vertex", before + b"element vertex")
    faces = b"".join(bytes(2) + length.to_bytes(2, code) + bytes(4 * length) for length in (3, 500))
    replace_bytes(tmp_path / "a.ply", b"end_header\n", b"end_header\n" + faces)
    with pytest.warns(UserWarning, match="no part of splats: face$"):
        assert close(read_ply(tmp_path / "a.ply").means, expected.means)
    data = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(data[:-9])
    refused(tmp_path / "a.ply", "cut short")
    (tmp_path / "a.ply").write_bytes(data.replace((500).to_bytes(2, code), b"\xff\xff"))
    refused(tmp_path / "a.ply", "cut short")
    (tmp_path / "a.ply").write_bytes(data.replace(b"list ushort", b"list float"))
    refused(tmp_path / "a.ply", "cut short|no integers")


def test_numbers_as_microsoft_prints_them(tmp_path):
    rows, expected = valid_ply_rows(tmp_path, count=9)
    write_foreign_ply(tmp_path / "a.ply", rows, text=True)
    header, end, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    lines = body.split(b"\n")
    odd = (b"-nan(ind)", b"1.#QNAN", b"-1.#IND00", b"nan(snan)", b"inf", b"-inf", b"1.#INF00")
    for i, number in enumerate(odd):
        lines[i] = b" ".join([number, *lines[i].split()[1:]])
    (tmp_path / "a.ply").write_bytes(header + end + b"\n".join(lines))
    with pytest.warns(DroppedRows, match="7 of 9 rows hold NaN"):
        assert close(read_ply(tmp_path / "a.ply").means, expected.means[7:])


def test_a_header_of_many_lists_is_read_in_time(tmp_path):
    properties = b"".join(b"property list char char p%d\n" % i for i in range(34_000))
    head = b"ply\nformat binary_little_endian 1.0\nelement a 0\n" + properties
    (tmp_path / "a.ply").write_bytes(head + b"end_header\n")
    start = time.perf_counter()
    refused(tmp_path / "a.ply", "a PLY of something else")
    assert time.perf_counter() - start < 3
