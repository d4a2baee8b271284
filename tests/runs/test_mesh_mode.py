"""Runs of splats and then a surface, surfaces from existing splats, and re-exported meshes."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh
import yaml

import gs3d
import gs3d.cli.runs.generate  # noqa: F401 - imports names that tests below replace elsewhere
from gs3d.cli.main import main
from gs3d.core.errors import UserError
from gs3d.distill import step
from gs3d.distill.settings.config import load_config
from gs3d.runs import prepare
from gs3d.runs.folders import next_folder
from gs3d.runs.history import prior_of, representation_of, training_cameras
from tests.runs.running import (
    SPLATS_THEN_SURFACE,
    copy_of,
    generate,
    interrupt_after,
    log_rows,
    request_for,
)

STEPS = 8
SPLATS_ONLY = SPLATS_THEN_SURFACE.split("stages:")[0] + "gaussians: {count: 400}\n"


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    return request_for(tiny_builtin_folder, tmp_path, SPLATS_THEN_SURFACE, STEPS, mode="mesh")


@pytest.fixture(scope="module")
def cameras_used():
    """The cameras of all iterations of `finished`."""
    return []


@pytest.fixture(scope="module")
def said():
    """What `finished` told the user."""
    return []


@pytest.fixture(scope="module")
def finished(tiny_builtin_folder, tmp_path_factory, cameras_used, said):
    """The finished run of `request_`."""
    sample_cameras = step.sample_cameras

    def record_cameras(*args):
        cameras_used.append(sample_cameras(*args))
        return cameras_used[-1]

    folder = tmp_path_factory.mktemp("mesh_mode")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "sample_cameras", record_cameras)
        request = request_for(tiny_builtin_folder, folder, SPLATS_THEN_SURFACE, STEPS)
        return generate(request, say=said.append)


@pytest.fixture(scope="module")
def splats(tiny_builtin_folder, tmp_path_factory):
    """The folder of a finished run of splats alone. No test changes it."""
    folder = tmp_path_factory.mktemp("splats")
    return generate(request_for(tiny_builtin_folder, folder, SPLATS_ONLY, steps=3)).folder


def test_long_work_between_iterations_is_announced(finished, said):
    assert said.index("stage 2 of 2: a surface") < said.index(
        "writing the mesh, its texture and pictures"
    )


def test_splats_become_a_mesh(finished):
    rows = log_rows(finished.folder)
    assert ["splats" in row for row in rows] == [True] * 4 + [False] * 4
    assert all("inner_vertices" in row for row in rows[4:]) and not finished.warnings
    mesh = trimesh.load(finished.folder / "mesh.ply", force="mesh")
    first_stage = finished.folder / "stage-1.ply"
    assert len(gs3d.load(first_stage).splats) > 100 and first_stage in finished.files
    names = {p.name for p in finished.folder.iterdir()}
    assert mesh.is_watertight and {"mesh.glb", "mesh.obj"} <= names


@pytest.mark.parametrize("last", [1, 3, 5], ids=["first stage", "border", "second stage"])
def test_interrupted_and_resumed_run_equals_uninterrupted_run(request_, finished, last):
    assert generate(request_, report=interrupt_after(last)).outcome == "interrupted"
    assert (request_.out / "splats.ply").exists() == (last < 4)
    resumed = generate(dataclasses.replace(request_, resume=True))
    # Otherwise the folder would hold two results, the mesh and outdated splats.
    assert not (request_.out / "splats.ply").exists()
    assert np.array_equal(finished.mesh.vertices, resumed.mesh.vertices)
    assert np.array_equal(finished.mesh.texture, resumed.mesh.texture)


def test_surface_starts_from_existing_splats(request_, splats, tmp_path):
    counted = []
    request = dataclasses.replace(request_, start=splats, steps=2)
    result = generate(request, report=lambda entry, budget: counted.append(entry.counts))
    assert counted == ["inner_vertices"] * 2 and result.mesh is not None
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["start"] == str(splats) and record["config"]["representation"] == "dmtet"
    from_file = dataclasses.replace(
        request, start=splats / "splats.ply", out=tmp_path / "from_file"
    )
    assert np.array_equal(result.mesh.vertices, generate(from_file).mesh.vertices)
    other = generate(dataclasses.replace(request, start=None, out=tmp_path / "other"))
    assert not np.array_equal(result.mesh.vertices, other.mesh.vertices)
    options = {name: getattr(request, name) for name in ("prior", "config", "start")}
    assert gs3d.generate("a red mushroom", steps=1, **options, out=tmp_path / "api").mesh


@pytest.mark.parametrize(
    "change, message",
    [
        ({"start": "nowhere"}, "there is no such file or folder"),
        ({"start": "."}, "neither splats.ply nor mesh.glb is in it"),
        ({"start": "splats", "config": "builtin-two-stage"}, "expected mode splats or mode mesh"),
    ],
)
def test_invalid_start_is_refused(request_, splats, tmp_path, change, message):
    places = {"nowhere": tmp_path / "nowhere", ".": tmp_path, "splats": splats}
    with pytest.raises(UserError, match=message):
        generate(dataclasses.replace(request_, **(change | {"start": places[change["start"]]})))


def test_mesh_command_exports_a_run_again(request_, finished, tmp_path, capsys):
    folder = copy_of(finished, request_).out
    command = ["mesh", str(folder), "-o", str(tmp_path / "few.glb"), "--faces", "480"]
    assert main([*command, "--texture", "32"]) == 0
    few, full = gs3d.load(tmp_path / "few.glb").mesh, gs3d.load(folder / "mesh.glb").mesh
    assert len(few.faces) <= 480 < len(full.faces) and few.texture.shape == (32, 32, 3)
    assert main(["mesh", str(folder)]) == 2
    assert "give a place for the other one with -o" in capsys.readouterr().err
    for checkpoint in (folder / "checkpoint").iterdir():
        checkpoint.unlink()
    assert main(["mesh", str(folder), "-o", str(tmp_path / "none.glb")]) == 2
    assert "it has not a checkpoint that can be read" in capsys.readouterr().err
    assert not (tmp_path / "none.glb").exists()


def test_training_cameras_are_those_of_the_run(request_, finished, cameras_used, tmp_path):
    folder = copy_of(finished, request_).out
    found = training_cameras(folder, 4)
    assert len(found) == 4
    for cameras in found:
        poses = cameras.world_to_camera
        assert any(torch.equal(poses, used.world_to_camera) for used in cameras_used)
    assert not torch.equal(found[0].world_to_camera, found[-1].world_to_camera)
    (folder / "log.jsonl").unlink()
    assert training_cameras(folder) == training_cameras(tmp_path) == []


def test_checkpoint_that_does_not_fit_the_settings_is_refused(request_, finished):
    folder = copy_of(finished, request_).out
    record = yaml.safe_load((folder / "run.yaml").read_text())
    record["config"]["stages"][1]["dmtet"]["field"]["hidden"] = 9
    (folder / "run.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(UserError, match="does not fit its run.yaml"):
        representation_of(folder)


@pytest.fixture
def refined_requests(request_, monkeypatch):
    """Requests of `gs3d mesh --refine`, which run for two steps with the settings of `request_`."""
    requests, tiny = [], load_config(request_.config)
    monkeypatch.setattr(prepare, "load_config", lambda *_: tiny)

    def prepare_steps(request, started):
        requests.append(request)
        return prepare.prepare(dataclasses.replace(request, minutes=None, steps=2), started)

    monkeypatch.setattr(gs3d.cli.runs.generate, "prepare", prepare_steps)
    return requests


def test_refine_repeats_the_prompt_prior_and_seed_of_the_run(
    request_, splats, refined_requests, tmp_path
):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in (splats / "run.yaml", splats / "splats.ply"):
        (folder / path.name).write_bytes(path.read_bytes())
    command, target = (
        ["mesh", str(folder), "--refine", "0.5", "--texture", "64"],
        folder / "mesh.glb",
    )
    assert main([*command, "--faces", "300"]) == 0
    (request,) = refined_requests
    assert request.prompt == "a red mushroom" and request.minutes == 0.5
    assert request.start == folder
    assert request.prior == request_.prior and request.seed == request_.seed
    assert not target.exists()
    assert len(gs3d.load(folder / "refined" / "mesh.glb").mesh.faces) <= 300
    assert main([*command, "-o", str(target)]) == 0
    assert (folder / "refined-2" / "mesh.glb").exists() and target.exists()


def test_refine_repeats_the_loras_of_the_run(splats, refined_requests, tmp_path, capsys):
    (folder := tmp_path / "copy").mkdir()
    (folder / "splats.ply").write_bytes((splats / "splats.ply").read_bytes())
    record = yaml.safe_load((splats / "run.yaml").read_text())
    record["prior"]["lora"] = [{"name": "x", "source": str(tmp_path / "x"), "weight": 0.5}]
    (folder / "run.yaml").write_text(yaml.safe_dump(record))
    assert main(["mesh", str(folder), "--refine", "0.5"]) == 2  # The file is not there.
    assert "--lora" in capsys.readouterr().err
    assert refined_requests[0].lora == (f"{tmp_path / 'x'}:0.5",)


def test_refine_refuses_invalid_arguments(splats, capsys):
    assert main(["mesh", str(splats), "--refine", "0.5", "--resolution", "32"]) == 2
    assert "--resolution: is of the grid that splats are fused on" in capsys.readouterr().err
    assert main(["mesh", str(splats / "splats.ply"), "--refine", "0.5"]) == 2
    assert "expected the folder of a run that has made splats" in capsys.readouterr().err
    for minutes in ("0", "-1", "nan", "inf"):
        assert main(["mesh", str(splats), "--refine", minutes]) == 2
        assert "--refine: expected minutes above 0" in capsys.readouterr().err


def test_prior_of_a_record():
    assert prior_of({"prior": {"name": "builtin", "source": "gs3d"}}) == "builtin"
    assert prior_of({"prior": {"name": "sd21-base", "source": "someone/mirror"}}) == "sd21-base"
    assert prior_of({"prior": {"name": "mine", "source": "owner/mine"}}) == "owner/mine"


def test_next_folder_is_the_first_free_number(tmp_path):
    assert next_folder(tmp_path / "a") == tmp_path / "a"
    for name in ("a", "a-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.yaml").touch()
    assert next_folder(tmp_path / "a") == tmp_path / "a-3"


def test_stage_without_iterations_is_a_warning(request_):
    result = generate(dataclasses.replace(request_, steps=1))
    assert result.warnings == ["too few iterations (1): stage 2 of 2 (dmtet) never began"]
