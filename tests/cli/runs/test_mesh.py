"""`gs3d mesh` on splat files and runs. tests/runs tests it on runs with a surface."""

import numpy as np
import pytest
import trimesh

from gs3d.evaluation.reference import reference_splats
from gs3d.io import save_splats
from gs3d.world.sample import sample
from tests.cli.commands import one_line_fault, run

SMALL = ("--resolution", "32", "--faces", "500", "--texture", "64")


@pytest.fixture(scope="module")
def splats_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "splats.ply"
    parts = sample(np.random.default_rng(0), "mug", "red").parts
    save_splats(path, reference_splats(parts, size_px=48))
    return path


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_mesh_of_a_file(capsys, splats_file, tmp_path, suffix):
    path = tmp_path / f"mug{suffix}"
    status, out, err = run(capsys, "mesh", str(splats_file), "-o", str(path), *SMALL)
    assert status == 0 and str(path) in out, err
    mesh = trimesh.load(path, force="mesh", process=False)
    assert 100 < len(mesh.faces) <= 500
    if suffix == ".glb":
        assert mesh.visual.material.baseColorTexture.size == (64, 64)


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_a_mesh_with_a_height_stands_on_the_ground(capsys, splats_file, tmp_path, suffix):
    path = tmp_path / f"mug{suffix}"
    height = ("--height", "2.5")
    status, _, err = run(capsys, "mesh", str(splats_file), "-o", str(path), *SMALL, *height)
    assert status == 0, err
    if suffix == ".glb":
        assert run(capsys, "info", str(path))[1].splitlines()[-1].split() == ["verdict", "sound"]
    (left, below, back), (right, above, front) = trimesh.load(path, force="mesh").bounds
    assert abs(below) < 1e-4 and above == pytest.approx(2.5, abs=1e-4)
    assert left == pytest.approx(-right, abs=1e-4) and back == pytest.approx(-front, abs=1e-4)


def test_mesh_of_a_run_goes_to_its_folder(capsys, splats_file):
    assert run(capsys, "mesh", str(splats_file.parent), *SMALL)[0] == 0
    assert (splats_file.parent / "mesh.glb").stat().st_size > 1000


@pytest.mark.parametrize(
    "arguments,expected",
    [
        (["--faces", "0"], "--faces: expected 100 to 2000000, got 0"),
        (["--resolution", "1"], "--resolution: expected 16 to 512, got 1"),
        (["--resolution", "4096"], "--resolution: expected 16 to 512, got 4096"),
        (["--cells", "4096"], "--resolution: expected 16 to 512, got 4096"),
        (["--texture", "100000"], "--texture: expected 16 to 8192, got 100000"),
        (["--height", "0"], "--height: expected meters above 0, got 0"),
        (["--height", "2", "--refine", "1"], "--height: with --refine, give a place for the mesh"),
        (["--height", "inf"], "--height: expected meters above 0, got inf"),
        (["-o", "mesh.stl"], "-o mesh.stl: expected a name ending in one of"),
    ],
)
def test_invalid_arguments(capsys, splats_file, arguments, expected):
    assert expected in one_line_fault(capsys, "mesh", str(splats_file), *arguments)


def test_splats_are_never_overwritten(capsys, splats_file):
    before = splats_file.read_bytes()
    message = one_line_fault(capsys, "mesh", str(splats_file), "-o", str(splats_file))
    assert "the mesh would take its place; give another name with -o" in message
    assert splats_file.read_bytes() == before


def test_source_that_is_a_mesh(capsys, tmp_path):
    path = tmp_path / "mug.glb"
    assert run(capsys, "reference", "a red mug", "-o", str(path))[0] == 0
    assert "mug.glb: is a mesh already" in one_line_fault(capsys, "mesh", str(path))


def test_source_without_splats(capsys, tmp_path):
    message = one_line_fault(capsys, "mesh", str(tmp_path))
    assert "is no folder of a finished run; neither splats.ply nor mesh.glb" in message
    message = one_line_fault(capsys, "mesh", str(tmp_path / "nothing"))
    assert "no such file or folder; expected a run's folder" in message
