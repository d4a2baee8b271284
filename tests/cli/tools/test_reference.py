"""`gs3d reference`: meshes, images, thin parts and invalid arguments."""

import re

import pytest
import trimesh
from PIL import Image

from tests.cli.commands import one_line_fault, run

CHAIR = "a blue chair with yellow legs"


def test_number_selects_the_object(capsys, tmp_path):
    path = tmp_path / "chair.glb"
    options = ["-o", str(path), "--resolution", "32"]
    status, out, _ = run(capsys, "reference", f"a DSLR photo of {CHAIR}", *options)
    assert status == 0 and str(path) in out
    first = trimesh.load(path, force="mesh").vertices
    run(capsys, "reference", CHAIR, *options, "--number", "1")
    assert trimesh.load(path, force="mesh").vertices.shape != first.shape


def test_truth_and_cells_are_aliases(capsys, tmp_path):
    calls = {"new": ("reference", "--resolution"), "old": ("truth", "--cells")}
    for name, (command, flag) in calls.items():
        options = ["-o", str(tmp_path / f"{name}.ply"), flag, "32"]
        assert run(capsys, command, CHAIR, *options)[0] == 0
    assert (tmp_path / "old.ply").read_bytes() == (tmp_path / "new.ply").read_bytes()


def test_image_of_eight_views(capsys, tmp_path):
    path = tmp_path / "chair.png"
    assert run(capsys, "reference", CHAIR, "-o", str(path), "--size", "32")[0] == 0
    assert Image.open(path).size == (128, 64)


def test_parts_thinner_than_a_voxel_are_reported(capsys, tmp_path):
    def export(resolution):
        options = ["-o", str(tmp_path / "a.ply"), "--resolution", resolution]
        return run(capsys, "reference", "a small red plane", *options)

    status, out, _ = export("24")
    pattern = r"parts are thinner than a voxel and may have holes or be missing; "
    enough = re.search(pattern + r"--resolution (\d+) shows them all", out)
    assert status == 0 and enough
    assert "warning:" not in export(enough[1])[1]


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["a red corgi"], "the world has no word for 'corgi'; expected a [SIZE]"),
        (["a red mushrom"], "the world has no word for 'mushrom' (did you mean 'mushroom'?)"),
        (["a chair"], "it does not say which color it has"),
        (["a red view"], "it does not say what it is"),
        (["a red chair with red legs"], "each word is known, but not in this order or company"),
        ([""], "it does not say what it is"),
        (["a red chair", "-o", "chair.stl"], "-o chair.stl: expected a name ending in one of"),
        (["a red chair", "--resolution", "4"], "--resolution: expected 16 to 512, got 4"),
        (["a red chair", "--size", "0"], "--size: expected 16 to 2048, got 0"),
        (["a red chair", "--number", "-1"], "--number: expected 0 to 9999, got -1"),
        (
            ["a red chair", "-o", "missing/chair.glb", "--resolution", "512"],
            "missing does not exist",
        ),
    ],
)
def test_invalid_arguments(capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in one_line_fault(capsys, "reference", *arguments)
    assert list(tmp_path.iterdir()) == []
