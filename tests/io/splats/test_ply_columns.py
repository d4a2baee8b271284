"""INRIA .ply, reading: columns of other programs, and columns that are missing or wrong."""

import numpy as np
import pytest
import torch

from gs3d.io.splats.ply import read_ply
from tests.io.splats.samples import (
    assert_refused,
    close,
    drop_columns,
    valid_ply_rows,
    write_foreign_ply,
)


def refused(path, message):
    assert_refused(path, message, read_ply)


def with_columns(rows, columns):
    """`rows` with further float columns, name → values."""
    wide = np.zeros(len(rows), [(n, "<f4") for n in (*rows.dtype.names, *columns)])
    for name in rows.dtype.names:
        wide[name] = rows[name]
    for name, values in columns.items():
        wide[name] = values
    return wide


def test_unknown_columns_are_named_in_one_line(tmp_path):
    rows, _ = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", with_columns(rows, dict.fromkeys("abcdef", 0)))
    with pytest.warns(UserWarning) as caught:
        read_ply(tmp_path / "a.ply")
    assert [str(w.message).partition(": ")[2] for w in caught] == [
        "left out, as no part of splats: a, b, c, d and 2 more"
    ]


def test_coefficients_of_degree_4_are_left_out_with_a_line(tmp_path):
    rows, expected = valid_ply_rows(tmp_path, degree=3)
    rest = {f"f_rest_{i}": 0 for i in range(45, 72)}
    wide = with_columns(rows, rest)
    for channel in range(3):
        for i in range(24):
            wide[f"f_rest_{24 * channel + i}"] = (
                rows[f"f_rest_{15 * channel + i}"] if i < 15 else 9.0
            )
    write_foreign_ply(tmp_path / "a.ply", wide)
    with pytest.warns(UserWarning, match="degree 4 are dropped"):
        assert close(read_ply(tmp_path / "a.ply").sh, expected.sh)


def test_the_filter_of_mip_splatting_is_applied(tmp_path):
    rows, expected = valid_ply_rows(tmp_path)
    width = np.array([0, 0.01, 0.02, 0.05, 0.1, 1.0], np.float32)
    write_foreign_ply(tmp_path / "a.ply", with_columns(rows, {"filter_3D": width}))
    with pytest.warns(UserWarning, match="filter_3D of its splats is part of"):
        back = read_ply(tmp_path / "a.ply")
    before = expected.scales.double().square()
    after = before + torch.from_numpy(width).double().square()[:, None]
    assert torch.allclose(back.scales.double(), after.sqrt(), rtol=1e-6)
    share = (before.prod(1) / after.prod(1)).sqrt()
    assert torch.allclose(back.opacities.double(), expected.opacities * share, rtol=1e-5)


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


def test_missing_columns_are_named(tmp_path):
    rows, _ = valid_ply_rows(tmp_path)
    write_foreign_ply(tmp_path / "a.ply", drop_columns(rows, {"opacity", "rot_3"}))
    refused(tmp_path / "a.ply", "missing opacity, rot_3")


@pytest.mark.parametrize("count", [8, 6, 1])
def test_a_wrong_number_of_sh_coefficients_is_refused(tmp_path, count):
    rows, _ = valid_ply_rows(tmp_path, degree=1)
    dropped = {f"f_rest_{i}" for i in range(count, 9)}
    write_foreign_ply(tmp_path / "a.ply", drop_columns(rows, dropped))
    refused(tmp_path / "a.ply", f"expected 0, 9, 24, 45 or 72 properties .* got {count}")


def test_sh_coefficients_not_numbered_from_zero_are_refused(tmp_path):
    rows, _ = valid_ply_rows(tmp_path, degree=1)
    names = {"f_rest_0": "f_rest_9"}
    rows.dtype.names = tuple(names.get(name, name) for name in rows.dtype.names)
    write_foreign_ply(tmp_path / "a.ply", rows)
    refused(tmp_path / "a.ply", "not numbered from 0")
