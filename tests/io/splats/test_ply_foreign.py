"""INRIA .ply, reading: files of other programs, and invalid or damaged files."""

import warnings

import numpy as np
import pytest
import torch

from gs3d.io import DroppedRows, save_splats
from gs3d.io.splats.ply import read_ply, write_ply
from gs3d.ops.clean import centered
from tests.io.splats.samples import (
    assert_refused,
    change_bytes,
    close,
    drop_columns,
    ply_rows,
    read_ignoring_damage,
    replace_bytes,
    valid_ply_rows,
    write_foreign_ply,
)


def refused(path, message):
    assert_refused(path, message, read_ply)


# Files of other programs


@pytest.mark.parametrize("kind", [{"text": True}, {"byte_order": ">"}, {"byte_order": "<"}])
def test_ascii_and_both_byte_orders_are_read(tmp_path, kind):
    rows, expected = valid_ply_rows(tmp_path, degree=1)
    write_foreign_ply(tmp_path / "a.ply", rows, **kind)
    back = read_ply(tmp_path / "a.ply")
    assert close(back.means, expected.means)
    assert close(back.sh, expected.sh)
    assert close(back.scales, expected.scales)


def test_windows_line_ends_other_types_and_extra_properties(tmp_path):
    rows, expected = valid_ply_rows(tmp_path)
    names = [name for name in rows.dtype.names if name not in ("nx", "ny", "nz")]
    types = [("red", "u1"), *[(name, "<f8") for name in names], ("confidence", "<i2")]
    wide = np.zeros(len(rows), dtype=types)
    for name in names:
        wide[name] = rows[name]
    write_foreign_ply(tmp_path / "a.ply", wide)
    header, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    (tmp_path / "a.ply").write_bytes((header + b"end_header\n").replace(b"\n", b"\r\n") + body)
    with pytest.warns(UserWarning, match="left out, as no part of splats: red, confidence$"):
        back = read_ply(tmp_path / "a.ply")
    assert close(back.means, expected.means) and back.sh.shape == (6, 1, 3)


def test_invalid_rows_are_dropped_with_a_warning(tmp_path):
    rows, expected = valid_ply_rows(tmp_path)
    rows["f_dc_1"][1] = np.nan
    rows["scale_2"][3] = np.inf
    for name in ("rot_0", "rot_1", "rot_2", "rot_3"):
        rows[name][4] = 0
    rows["opacity"][5] = np.inf
    write_foreign_ply(tmp_path / "a.ply", rows)
    with pytest.warns(DroppedRows, match="a.ply: 3 of 6 rows hold NaN") as caught:
        back = read_ply(tmp_path / "a.ply")
    warning = caught[0].message
    assert (warning.dropped, warning.total) == (3, 6) and "\n" not in str(warning)
    assert close(back.means, expected.means[[0, 2, 5]]) and back.opacities[2] == 1


def test_a_file_without_valid_rows_is_refused(tmp_path):
    rows, _ = valid_ply_rows(tmp_path)
    rows["x"] = np.nan
    write_foreign_ply(tmp_path / "a.ply", rows)
    refused(tmp_path / "a.ply", "all 6 rows hold NaN")


@pytest.mark.parametrize("comment", ["caf\u00e9".encode(), b"caf\xe9", b"\xff\xfe"])
@pytest.mark.parametrize("text", [False, True])
def test_comments_may_hold_any_bytes(tmp_path, comment, text):
    rows, expected = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows, text=text)
    lines = b"1.0\ncomment " + comment + b"\nobj_info " + comment + b"\n"
    replace_bytes(tmp_path / "a.ply", b"1.0\n", lines)
    assert close(read_ply(tmp_path / "a.ply").means, expected.means)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_empty_lines_of_text_do_not_count(tmp_path, newline):
    rows, expected = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows, text=True)
    header, end, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    body = b"\n \n" + body.replace(b"\n", b"\n\n")
    (tmp_path / "a.ply").write_bytes((header + end + body).replace(b"\n", newline))
    assert close(read_ply(tmp_path / "a.ply").means, expected.means)


def test_elements_before_the_splats_are_skipped_in_text(tmp_path):
    rows, expected = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows, text=True)
    before = b"element camera 2\nproperty list uchar float f\nproperty float g\nelement vertex"
    replace_bytes(tmp_path / "a.ply", b"element vertex", before)
    replace_bytes(tmp_path / "a.ply", b"end_header\n", b"end_header\n3 1 2 3 4\n0 5\n")
    with pytest.warns(UserWarning, match="no part of splats: camera$"):
        assert close(read_ply(tmp_path / "a.ply").means, expected.means)


def test_flat_splats_have_a_third_scale_of_zero(tmp_path):
    rows, expected = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", drop_columns(rows, {"scale_2"}))
    with pytest.warns(UserWarning, match="flat splats, without scale_2"):
        back = read_ply(tmp_path / "a.ply")
    assert close(back.scales[:, :2], expected.scales[:, :2]) and (back.scales[:, 2] == 0).all()
    with pytest.warns(UserWarning, match="6 of 6 splats have an axis below 2.1e-09"):
        write_ply(tmp_path / "b.ply", back)
    assert close(read_ply(tmp_path / "b.ply").scales, back.scales.clamp_min(np.exp(-20)))


@pytest.mark.parametrize("log_scale", [-np.inf, -23.03, 5.6, 12.0])
def test_scales_out_of_the_usual_can_be_read_and_written(tmp_path, log_scale):
    rows, _ = valid_ply_rows(tmp_path)
    rows["scale_1"][2] = log_scale
    write_foreign_ply(tmp_path / "a.ply", rows)
    back = read_ply(tmp_path / "a.ply")
    assert len(back) == 6 and close(back.scales[2, 1], torch.tensor(np.float32(np.exp(log_scale))))
    for name in ("b.ply", "b.compressed.ply", "b.splat", "b.spz", "b.glb", "b.usda"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            save_splats(tmp_path / name, back)
        assert bool(caught) == (log_scale < -20 or (name == "b.spz" and log_scale > 6))


@pytest.mark.parametrize(
    ("comment", "world"),
    [
        ("Vertical Axis: z", lambda x, y, z: (x, y, z)),
        ("vertical axis: y", lambda x, y, z: (z, x, y)),
        ("Vertical Axis: x", lambda x, y, z: (y, z, x)),
        ("Vertical Axis: -z", lambda x, y, z: (x, -y, -z)),
    ],
)
def test_a_comment_may_name_the_vertical_axis(tmp_path, comment, world):
    rows, _ = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows)
    replace_bytes(tmp_path / "a.ply", b"1.0\n", b"1.0\ncomment " + comment.encode() + b"\n")
    with pytest.warns(UserWarning, match="as up; read that way"):
        means = read_ply(tmp_path / "a.ply").means
    expected = np.stack(world(rows["x"], rows["y"], rows["z"]), axis=1)
    assert close(means, torch.from_numpy(expected.astype(np.float32)))


def double_rows(tmp_path, offset, step):
    rows, _ = valid_ply_rows(tmp_path, count=32)
    wide = np.zeros(32, [(n, "<f8" if n in "xyz" else "<f4") for n in rows.dtype.names])
    for name in rows.dtype.names:
        wide[name] = rows[name]
    wide["x"] = offset + step * np.arange(32)
    write_foreign_ply(tmp_path / "a.ply", wide)


def test_rounding_of_double_positions_is_reported_and_can_be_avoided(tmp_path):
    double_rows(tmp_path, 4649776.25, 0.01)
    with pytest.warns(UserWarning, match=r"positions up to 4649777 .* rounded by up to 0.25; gs3d"):
        assert read_ply(tmp_path / "a.ply").means.dtype == torch.float32
    exact = read_ply(tmp_path / "a.ply", exact=True)
    with pytest.warns(UserWarning, match="rounded by up to"):
        write_ply(tmp_path / "b.ply", exact)
    write_ply(tmp_path / "b.ply", centered(exact))
    x = np.sort(ply_rows(tmp_path / "b.ply")["x"])
    assert np.allclose(np.diff(x), 0.01, atol=1e-6)


def test_double_positions_that_lose_nothing_are_read_as_usual(tmp_path):
    double_rows(tmp_path, 3.0, 0.01)
    assert read_ply(tmp_path / "a.ply", exact=True).means.dtype == torch.float32


# Damaged files


@pytest.mark.parametrize("text", [False, True])
def test_files_cut_short_are_refused(tmp_path, text):
    rows, _ = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows, text=text)
    data = (tmp_path / "a.ply").read_bytes()
    for length in (len(data) - 30, len(data) - 400, len(data) // 2, 100, 4, 3, 0):
        (tmp_path / "a.ply").write_bytes(data[:length])
        refused(tmp_path / "a.ply", "cannot read")
    (tmp_path / "a.ply").write_bytes(data[: data.index(b"end_header") + 11 + 68])
    message = "rows|cut short" if text else "cut short: the header declares 6 vertex"
    refused(tmp_path / "a.ply", message)


@pytest.mark.parametrize("count", ["99999999999", "9" * 40, "-6", "six", "1e3"])
@pytest.mark.parametrize("text", [False, True])
def test_a_false_vertex_count_is_never_allocated(tmp_path, count, text):
    rows, _ = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows, text=text)
    replace_bytes(tmp_path / "a.ply", b"element vertex 6", f"element vertex {count}".encode())
    refused(tmp_path / "a.ply", "declares|expected a whole number of rows")


def test_an_element_without_columns_is_never_allocated(tmp_path):
    rows, _ = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", rows)
    replace_bytes(tmp_path / "a.ply", b"end_header", b"element junk 99999999999\nend_header")
    refused(tmp_path / "a.ply", "without a property")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"binary_little_endian", b"binary_middle_endian", "is not valid PLY"),
        (b"property float nx", b"property half nx", "expected `property <type> <name>`"),
        (b"property float nx", b"property float x", "names the property x of vertex twice"),
        (b"property float nx", b"property float \xff", "plain ASCII"),
        (b"element vertex 6", b"element vertex 0", "expected at least one splat, got 0 vertices"),
        (b"front+z", b"front-z", "of a newer gs3d"),
        (b"element vertex", b"elephant vertex", "is not valid PLY"),
        (b"ply\n", b"PK\x03\x04", "begins with the line 'ply'"),
        (
            b"property float nx",
            b"property list uchar float nx",
            "expected one number per property of a vertex, got the list nx",
        ),
    ],
)
def test_invalid_headers_are_refused(tmp_path, old, new, message):
    valid_ply_rows(tmp_path)
    path = tmp_path / "good.ply"
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    refused(path, message)


def test_random_damage_never_gives_a_traceback(tmp_path):
    rows, _ = valid_ply_rows(tmp_path, count=3)
    rng = np.random.default_rng(0)
    for text in (False, True):
        write_foreign_ply(tmp_path / "a.ply", rows, text=text)
        data = np.frombuffer((tmp_path / "a.ply").read_bytes(), np.uint8)
        for _ in range(150):
            start = data[: rng.integers(1, len(data) + 1)]
            (tmp_path / "b.ply").write_bytes(change_bytes(start, rng))
            read_ignoring_damage(tmp_path / "b.ply", read_ply)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.ply", "there is no such file")
    (tmp_path / "dir.ply").mkdir()
    refused(tmp_path / "dir.ply", "it is a folder")
