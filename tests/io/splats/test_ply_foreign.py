"""INRIA .ply, reading: files of other programs, and invalid or damaged files."""

import numpy as np
import pytest

from gs3d.io import DroppedRows
from gs3d.io.splats.ply import read_ply
from tests.io.splats.samples import (
    assert_refused,
    change_bytes,
    close,
    read_ignoring_damage,
    valid_ply_rows,
    write_foreign_ply,
)


def refused(path, message):
    assert_refused(path, message, read_ply)


def replace_bytes(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


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
    back = read_ply(tmp_path / "a.ply")
    assert close(back.means, expected.means) and back.sh.shape == (6, 1, 3)


def test_invalid_rows_are_dropped_with_a_warning(tmp_path):
    rows, expected = valid_ply_rows(tmp_path)
    rows["f_dc_1"][1] = np.nan
    rows["scale_2"][3] = -np.inf
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


def test_opacities_that_look_like_probabilities_give_a_warning(tmp_path):
    rows, _ = valid_ply_rows(tmp_path, count=200)
    rows["opacity"] = np.linspace(0.01, 0.99, 200)
    write_foreign_ply(tmp_path / "a.ply", rows)
    with pytest.warns(UserWarning, match="look like probabilities"):
        read_ply(tmp_path / "a.ply")


# Invalid columns


def test_a_mesh_is_refused(tmp_path):
    path = tmp_path / "mesh.ply"
    path.write_text(
        "ply\nformat ascii 1.0\n"
        "element vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_indices\n"
        "end_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    )
    refused(path, "expected Gaussian splats, got a mesh. Meshes are read as .glb")


def drop_columns(rows, names):
    kept = [name for name in rows.dtype.names if name not in names]
    result = np.zeros(len(rows), dtype=[(name, "<f4") for name in kept])
    for name in kept:
        result[name] = rows[name]
    return result


def test_missing_columns_are_named(tmp_path):
    rows, _ = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", drop_columns(rows, {"opacity", "rot_3"}))
    refused(tmp_path / "a.ply", "missing opacity, rot_3")


@pytest.mark.parametrize("count", [8, 6, 1])
def test_a_wrong_number_of_sh_coefficients_is_refused(tmp_path, count):
    rows, _ = valid_ply_rows(tmp_path, degree=1)
    dropped = {f"f_rest_{i}" for i in range(count, 9)}
    write_foreign_ply(tmp_path / "a.ply", drop_columns(rows, dropped))
    refused(tmp_path / "a.ply", f"expected 0, 9, 24 or 45 properties .* got {count}")


def test_sh_coefficients_not_numbered_from_zero_are_refused(tmp_path):
    rows, _ = valid_ply_rows(tmp_path, degree=1)
    names = {"f_rest_0": "f_rest_9"}
    rows.dtype.names = tuple(names.get(name, name) for name in rows.dtype.names)
    write_foreign_ply(tmp_path / "a.ply", rows)
    refused(tmp_path / "a.ply", "not numbered from 0")


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
        (b"comment gs3d 0.1", b"comment \xff", "plain ASCII"),
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
