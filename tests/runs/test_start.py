"""Runs that start from splats or a mesh that are there already."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

import gs3d
from gs3d.core.errors import UserError
from gs3d.io import save_splats
from gs3d.io.mesh import write_mesh
from gs3d.ops.place import framed
from gs3d.runs.prepare import prepare
from tests.io.splats.samples import random_splats
from tests.representations.gaussians.test_existing import cube
from tests.runs.running import equal, generate, interrupt_after, log_rows


@pytest.fixture
def splats_file(tmp_path):
    splats = random_splats(300, 0)
    save_splats(tmp_path / "there.ply", splats)
    return tmp_path / "there.ply"


def test_splats_are_refined(splats_request, splats_file):
    once = ("densify.rounds=1",)  # at a progress that the run skips
    request = dataclasses.replace(splats_request, start=splats_file, steps=2, set=once)
    result = generate(request)
    before, after = framed(gs3d.load(splats_file).splats), result.splats
    assert len(after) == len(before)
    moved = (after.means - before.means).norm(dim=1)
    assert 0 < float(moved.median()) < 0.05
    assert [row["progress"] for row in log_rows(result.folder)] == [0.5, 0.75]


def test_more_splats_than_a_run_grows_to_are_named(splats_request, splats_file):
    request = dataclasses.replace(splats_request, start=splats_file)
    few = dataclasses.replace(request, set=("densify.max_count=200",))
    (found,) = (m.text for m in prepare(few).messages)
    assert found == "starts from 300 splats, more than densify.max_count 200: none is added"
    assert not prepare(request).messages


def test_begin_is_a_setting(splats_request, splats_file):
    request = dataclasses.replace(splats_request, start=splats_file, set=("begin=0.9",))
    for given in (0.9, 0.0):
        plan = prepare(dataclasses.replace(request, set=(f"begin={given}",)))
        assert plan.begin == given
    assert (prepare(splats_request).begin, prepare(splats_request).config.begin) == (0, None)


def test_begin_of_a_start_is_not_in_its_settings(splats_request, splats_file):
    """A run from its run.yaml, without what it started from, begins at the beginning."""
    plan = prepare(dataclasses.replace(splats_request, start=splats_file))
    assert (plan.begin, plan.config.begin) == (0.5, None)


def test_a_run_cannot_begin_behind_its_first_stage(splats_request, tmp_path):
    request = dataclasses.replace(splats_request, config="builtin-mesh", set=("begin=0.7",))
    with pytest.raises(UserError, match=r"begin: expected a number in the first stage, \[0, 0.6\)"):
        prepare(request)


def test_resume_with_another_start_and_without_the_file(splats_request, splats_file, tmp_path):
    request = dataclasses.replace(splats_request, start=splats_file, steps=3)
    generate(request)
    again = dataclasses.replace(request, steps=6, resume=True)
    other = dataclasses.replace(again, start=tmp_path / "other.ply")
    with pytest.raises(UserError, match="that run has start .*there.ply, not .*other.ply"):
        generate(other)
    splats_file.unlink()
    assert generate(dataclasses.replace(again, start=None)).steps == 6


def test_resumed_run_equals_one_that_was_not_interrupted(splats_request, splats_file, tmp_path):
    request = dataclasses.replace(splats_request, start=splats_file, steps=6)
    whole = generate(dataclasses.replace(request, out=tmp_path / "whole"))
    stopped = dataclasses.replace(request, out=tmp_path / "stopped")
    generate(stopped, interrupt_after(2))
    resumed = generate(dataclasses.replace(stopped, resume=True))
    assert resumed.steps == 6
    assert equal(resumed.splats, whole.splats)


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_a_mesh_becomes_splats(splats_request, tmp_path, suffix):
    mesh = dataclasses.replace(cube(), vertices=3 * cube().vertices + np.float32([9, 0, 2]))
    path = tmp_path / f"cube{suffix}"
    write_mesh(path, mesh)
    splats = prepare(dataclasses.replace(splats_request, start=path)).splats
    assert len(splats) == 8_000
    assert 0.9 < float(splats.means.norm(dim=1).max()) < 1
    assert float(splats.means.mean(0).abs().max()) < 0.02
    colors = 0.5 + 0.28209479 * splats.sh[:, 0]
    torch.testing.assert_close(
        colors, torch.tensor([0.8, 0.2, 0.1]).expand_as(colors), atol=0.02, rtol=0
    )


def test_an_obj_faces_the_same_way_as_a_glb(splats_request, tmp_path):
    """The axes of .obj, .ply and .glb are the same; a lopsided object shows that."""
    vertices = np.float32([[0, 0, 0], [0.9, 0, 0], [0, 0.4, 0], [0, 0, 0.2]])
    faces = np.int32([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    mesh = dataclasses.replace(
        cube(), vertices=vertices, faces=faces, normals=vertices, colors=np.abs(vertices)
    )
    found = []
    for suffix in (".glb", ".obj", ".ply"):
        write_mesh(tmp_path / f"a{suffix}", mesh)
        start = dataclasses.replace(splats_request, start=tmp_path / f"a{suffix}")
        found.append(prepare(start).splats.means.std(0))
    torch.testing.assert_close(found[1], found[0], atol=0.01, rtol=0)
    torch.testing.assert_close(found[2], found[0], atol=0.01, rtol=0)
    assert found[0][0] > found[0][1] > found[0][2]


def test_the_texture_of_an_obj(splats_request, tmp_path):
    """Half of the square is red and half is blue; its vertices alone would mix the two."""
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4, :, 0], image[4:, :, 2] = 255, 255  # the upper half is red
    Image.fromarray(image).save(tmp_path / "a.png")
    (tmp_path / "a.mtl").write_text("newmtl m\nmap_Kd a.png\n")
    (tmp_path / "a.obj").write_text(
        "mtllib a.mtl\nusemtl m\nv -1 -1 0\nv 1 -1 0\nv 1 1 0\nv -1 1 0\n"
        "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )
    splats = prepare(dataclasses.replace(splats_request, start=tmp_path / "a.obj")).splats
    red = 0.5 + 0.28209479 * splats.sh[:, 0, 0]
    # File y is world z.
    torch.testing.assert_close(red, (splats.means[:, 2] > 0).float(), atol=1e-5, rtol=0)


def test_wrong_starts(splats_request, tmp_path):
    def message(path, **changes):
        with pytest.raises(UserError) as caught:
            prepare(dataclasses.replace(splats_request, start=path, **changes))
        return str(caught.value)

    assert "there is no such file or folder; expected a run's folder, a" in message(tmp_path / "x")
    (tmp_path / "a.obj").write_text("v 1 2 nan\nf 1 1 1\n")
    assert "expected triangles between its vertices, with finite" in message(tmp_path / "a.obj")
    (tmp_path / "n.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n")
    assert "n.obj" in message(tmp_path / "n.obj")
    (tmp_path / "a.stl").write_text("solid a\nendsolid a\n")
    text = message(tmp_path / "a.stl")
    assert "a.stl: expected a file of " in text and ".obj" in text and ".spz" in text
    (tmp_path / "b.obj").write_text("")
    assert "cannot read" in message(tmp_path / "b.obj")
    trimesh.PointCloud([[0, 0, 0], [1, 1, 1]]).export(tmp_path / "c.ply")
    assert "c.ply" in message(tmp_path / "c.ply")
    save_splats(tmp_path / "d.ply", random_splats(20, 0))
    text = message(tmp_path / "d.ply", config="builtin-two-stage")
    assert "a nerf cannot start from what is there; expected mode splats or mode mesh" in text


@pytest.mark.parametrize(
    "given, end",
    [
        ("BUILTIN", "; did you mean 'builtin'?"),
        ("bultin", "; did you mean 'builtin'?"),
        ("shape", "; did you mean 'shap-e'?"),
        ("outputs/x", "; expected a run's folder, a splat file, a mesh, builtin, or shap-e"),
    ],
)
def test_misspelt_start(splats_request, given, end):
    with pytest.raises(UserError) as caught:
        prepare(dataclasses.replace(splats_request, start=given))
    assert str(caught.value) == f"start {given}: there is no such file or folder{end}"
