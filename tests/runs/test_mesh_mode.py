"""Splats and then a surface that begins as they are; a surface from splats that are there already; and its mesh anew."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import torch
import trimesh
import yaml

import gs3d
import gs3d.cli.runs.generate  # noqa: F401 - before anything is patched: it keeps what it imports
from gs3d.cli.main import main
from gs3d.core.errors import UserError
from gs3d.distill import step
from gs3d.distill.config import load_config
from gs3d.runs import prepare
from gs3d.runs.folders import next_folder
from gs3d.runs.history import prior_of, representation_of, training_cameras
from gs3d.runs.request import Request
from tests.runs.running import generate

CONFIG = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
losses:
  cds: {cfg: {start: 5, end: 5}}
  sds: {cfg: {start: 5, end: 5}}
stages:
  - {representation: splats, gaussians: {count: 400}}
  - representation: dmtet
    normals: 0.5
    dmtet: {resolution: 12, field: {hidden: 8, grid: {levels: 3, log2_size: 10, coarsest: 4, finest: 16}}}
"""


pytestmark = pytest.mark.usefixtures("small_files")


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return Request(
        "a red mushroom",
        steps=8,
        prior=str(tiny_builtin_folder),
        out=tmp_path / "run",
        config=path,
        device="cpu",
        mode="mesh",
    )


@pytest.fixture
def splats(request_):
    """A run that has made splats alone."""
    path = request_.out.with_name("splats.yaml")
    path.write_text(CONFIG.split("stages:")[0] + "gaussians: {count: 400}\n")
    return generate(
        dataclasses.replace(request_, config=path, out=request_.out.with_name("splats"), steps=3)
    ).folder


def test_splats_become_a_mesh(request_):
    counted = []
    result = generate(request_, report=lambda entry, budget: counted.append(entry.counts))
    assert counted == ["splats"] * 4 + ["inner_vertices"] * 4 and not result.warnings
    made = trimesh.load(result.folder / "mesh.ply", force="mesh")
    assert (
        len(gs3d.load(result.folder / "stage-1.ply").splats) > 100
        and result.folder / "stage-1.ply" in result.files
    )
    assert made.is_watertight and {"mesh.glb", "mesh.obj"} <= {
        p.name for p in result.folder.iterdir()
    }


@pytest.mark.parametrize("last", [1, 3, 5])
def test_broken_off_in_either_stage_it_ends_as_if_it_had_not_been(request_, last):
    whole, part = (
        generate(request_),
        dataclasses.replace(request_, out=request_.out.with_name("part")),
    )

    def stop(entry, budget):
        if entry.step == last:
            os.kill(os.getpid(), signal.SIGINT)

    assert generate(part, report=stop).outcome == "interrupted"
    assert (part.out / "splats.ply").exists() == (last < 4)
    resumed = generate(dataclasses.replace(part, resume=True))
    # Else its mesh and what is no longer its result would both be taken for the run's.
    assert not (part.out / "splats.ply").exists()
    assert np.array_equal(whole.mesh.vertices, resumed.mesh.vertices) and np.array_equal(
        whole.mesh.texture, resumed.mesh.texture
    )


def test_a_surface_can_begin_from_splats_that_are_there(request_, splats):
    counted = []
    request = dataclasses.replace(request_, start=splats, steps=2)
    result = generate(request, report=lambda entry, budget: counted.append(entry.counts))
    assert counted == ["inner_vertices"] * 2 and result.mesh is not None
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["start"] == str(splats) and [record["config"]["representation"]] == ["dmtet"]
    again = generate(
        dataclasses.replace(
            request, start=splats / "splats.ply", out=request.out.with_name("again")
        )
    )
    assert np.array_equal(result.mesh.vertices, again.mesh.vertices)
    other = generate(dataclasses.replace(request, start=None, out=request.out.with_name("other")))
    assert not np.array_equal(result.mesh.vertices, other.mesh.vertices)
    assert gs3d.generate(
        "a red mushroom",
        steps=1,
        **{k: getattr(request, k) for k in ("prior", "config", "start")},
        out=splats.with_name("api"),
    ).mesh


@pytest.mark.parametrize(
    "change, words",
    [
        ({"start": "nowhere"}, "there is no such file or folder"),
        ({"start": "."}, "expected a run of splats, but splats.ply is not in it"),
        ({"start": "made", "config": "builtin", "mode": "splats"}, "add mode mesh"),
        ({"start": "made", "config": "builtin-two-stage"}, "add mode mesh"),
    ],
)
def test_a_start_that_is_none_is_one_line(request_, splats, tmp_path, change, words):
    places = {"nowhere": tmp_path / "nowhere", ".": tmp_path, "made": splats}
    with pytest.raises(UserError, match=words):
        generate(dataclasses.replace(request_, **(change | {"start": places[change["start"]]})))


def test_a_run_that_made_a_mesh_makes_it_anew_with_other_triangles(request_, tmp_path, capsys):
    folder = generate(request_).folder
    assert (
        main(
            [
                "mesh",
                str(folder),
                "-o",
                str(tmp_path / "few.glb"),
                "--faces",
                "480",
                "--texture",
                "32",
            ]
        )
        == 0
    )
    few, all_ = gs3d.load(tmp_path / "few.glb").mesh, gs3d.load(folder / "mesh.glb").mesh
    assert len(few.faces) <= 480 < len(all_.faces) and few.texture.shape == (32, 32, 3)
    assert main(["mesh", str(folder)]) == 2
    assert "give a place for the other one with -o" in capsys.readouterr().err
    for checkpoint in (folder / "checkpoint").iterdir():
        checkpoint.unlink()
    assert main(["mesh", str(folder), "-o", str(tmp_path / "none.glb")]) == 2
    assert (
        "it has not a checkpoint that can be read" in capsys.readouterr().err
        and not (tmp_path / "none.glb").exists()
    )


def test_the_cameras_of_a_run_are_those_that_it_learnt_from(request_, tmp_path, monkeypatch):
    drawn, real = [], step.sample_cameras

    def sample_cameras(*args):
        drawn.append(real(*args))
        return drawn[-1]

    monkeypatch.setattr(step, "sample_cameras", sample_cameras)
    folder = generate(request_).folder
    used = list(drawn)
    found = training_cameras(folder, 4)
    assert len(found) == 4
    for cameras in found:
        assert any(torch.equal(cameras.world_to_camera, other.world_to_camera) for other in used)
    assert not torch.equal(found[0].world_to_camera, found[-1].world_to_camera)
    (folder / "log.jsonl").unlink()
    assert training_cameras(folder) == training_cameras(tmp_path) == []


def test_a_checkpoint_of_other_settings_is_one_line(request_):
    folder = generate(request_).folder
    record = yaml.safe_load((folder / "run.yaml").read_text())
    record["config"]["stages"][1]["dmtet"]["field"]["hidden"] = 9
    (folder / "run.yaml").write_text(yaml.safe_dump(record))
    with pytest.raises(UserError, match="does not fit its run.yaml"):
        representation_of(folder)


def test_refining_goes_on_with_the_prompt_of_the_run(request_, splats, monkeypatch, capsys):
    asked = []
    tiny = load_config(request_.config)
    monkeypatch.setattr(prepare, "load_config", lambda *_: tiny)

    def by_steps(request, started):
        asked.append(request)
        return prepare.prepare(dataclasses.replace(request, minutes=None, steps=2), started)

    monkeypatch.setattr(gs3d.cli.runs.generate, "prepare", by_steps)
    for name in ("refined", "refined-2"):
        assert main(["mesh", str(splats), "--refine", "0.5", "--faces", "300"]) == 0
        assert (splats / name / "mesh.glb").exists()
    assert (
        asked[0].prompt == "a red mushroom" and asked[0].minutes == 0.5 and asked[0].start == splats
    )
    assert asked[0].prior == request_.prior and asked[0].seed == request_.seed
    assert (
        not (splats / "mesh.glb").exists()
        and len(gs3d.load(splats / "refined" / "mesh.glb").mesh.faces) <= 300
    )
    assert (
        main(["mesh", str(splats), "--refine", "0.5", "-o", str(splats / "mesh.glb")]) == 0
        and (splats / "mesh.glb").exists()
    )
    assert main(["mesh", str(splats), "--refine", "0.5", "--resolution", "32"]) == 2
    assert "--resolution: is of the grid that splats are fused on" in capsys.readouterr().err
    ply = splats / "splats.ply"
    assert main(["mesh", str(ply), "--refine", "0.5"]) == 2
    assert "expected the folder of a run that has made splats" in capsys.readouterr().err
    for minutes in ("0", "-1", "nan", "inf"):
        assert main(["mesh", str(splats), "--refine", minutes]) == 2
        assert "--refine: expected minutes above 0" in capsys.readouterr().err


def test_the_prior_of_a_record():
    assert prior_of({"prior": {"name": "builtin", "source": "gs3d"}}) == "builtin"
    assert prior_of({"prior": {"name": "sd21-base", "source": "someone/mirror"}}) == "sd21-base"
    assert prior_of({"prior": {"name": "mine", "source": "owner/mine"}}) == "owner/mine"


def test_folders_are_numbered(tmp_path):
    assert next_folder(tmp_path / "a") == tmp_path / "a"
    for name in ("a", "a-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.yaml").touch()
    assert next_folder(tmp_path / "a") == tmp_path / "a-3"
