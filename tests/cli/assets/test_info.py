"""`gs3d info`: statistics and problems of splats and meshes, as text and as JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gs3d.core.types import Mesh
from gs3d.io import save_splats
from gs3d.io.mesh import write_mesh
from tests.cli.assets.files import ball, write_nan_rows
from tests.cli.commands import one_line_fault, run


def test_splats(capsys, ply):
    status, out, err = run(capsys, "info", str(ply))
    assert status == 0 and err == ""
    assert "splats   2000, SH degree 1\n" in out and "radius 0.80" in out
    assert out.endswith("verdict  sound\n")
    assert out.count("#" * 40) >= 2 and len(out.splitlines()) == 31 and out.isascii()


def test_problems_of_splats_are_listed(capsys, ply):
    splats = ball()
    save_splats(ply, replace(splats, opacities=torch.full((2000,), 0.01), means=splats.means + 5))
    write_nan_rows(ply, 2)
    status, out, err = run(capsys, "info", str(ply))
    assert status == 0 and err == ""
    assert "left out 2 invalid rows" in out and "2 of 2000 rows hold NaN" in out
    verdict = out.splitlines()[-1]
    for words in (
        "2 rows could not be read",
        "100% are nearly clear: gs3d clean --min-opacity",
        "from the origin",
        "--center --radius 1",
    ):
        assert words in verdict


def test_json(capsys, ply):
    status, out, _ = run(capsys, "info", str(ply), "--json")
    tree = json.loads(out)
    assert status == 0 and tree["count"] == 2000 and tree["sound"] is True and tree["odd"] == []
    assert tree["file_bytes"] == ply.stat().st_size and sum(tree["opacities"]["counts"]) == 2000


def test_json_has_the_texts_of_warnings(capsys, ply):
    write_nan_rows(ply, 2)
    tree = json.loads(run(capsys, "info", str(ply), "--json")[1])
    assert tree["left_out"] == 2 and tree["sound"] is False
    assert len(tree["warnings"]) == 1 and "2 of 2000 rows hold NaN" in tree["warnings"][0]


@pytest.fixture
def tetrahedron(tmp_path):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]], np.int32)
    colors = np.full((4, 3), 0.5, np.float32)
    write_mesh(tmp_path / "mesh.glb", Mesh(vertices, faces, vertices + 1, colors))
    return tmp_path / "mesh.glb"


def test_mesh_and_run_with_a_mesh(capsys, tetrahedron):
    for source in (tetrahedron, tetrahedron.parent):
        status, out, _ = run(capsys, "info", str(source))
        assert status == 0 and out.endswith("sound\n")
        assert "mesh     4 vertices, 4 triangles, watertight\ntexture  none\n" in out


def test_json_of_a_mesh(capsys, tetrahedron):
    tree = json.loads(run(capsys, "info", str(tetrahedron.parent), "--json")[1])
    assert tree["file"] == str(tetrahedron) and tree["kind"] == "mesh" and tree["faces"] == 4


def test_invalid_arguments(capsys, tmp_path):
    def fault(*argv):
        return one_line_fault(capsys, "info", *argv)

    assert "no such file" in fault(str(tmp_path / "none.ply"))
    assert "cannot read" in fault("n" * 300 + ".ply")
    assert "neither splats.ply nor mesh.glb is in it" in fault(str(tmp_path))
    (tmp_path / "a.xyz").write_text("")
    message = fault(str(tmp_path / "a.xyz"))
    assert "a.xyz: expected a file name that ends in one of" in message
