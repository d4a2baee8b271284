"""Runs of a field and then a surface, on a tiny prior: what they leave, that they repeat and resume in either stage."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
import torch
import trimesh
import yaml

import gs3d
from gs3d.core.errors import UserError
from gs3d.representations import finish
from gs3d.training import export, loop, shapes, step
from gs3d.training.request import Request
from gs3d.training.run import generate, of_normals

CONFIG = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
losses:
  cds: {cfg: {start: 5, end: 5}}
  sds: {cfg: {start: 5, end: 5}}
stages:
  - shape: nerf
    nerf:
      samples: 8
      occupancy_cells: 8
      occupancy_every: 2
      field: {hidden: 8, grid: {levels: 3, log2_size: 10, coarsest: 4, finest: 16}}
  - {shape: dmtet, normals: 0.5, dmtet: {cells: 12}}
"""


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    for name, value in (("TEXTURE_PX", 64), ("TURNTABLE_FRAMES", 4), ("TURNTABLE_PX", 32), ("PREVIEW_PX", 32)):
        monkeypatch.setattr(export, name, value)


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return Request("a red mushroom", steps=10, prior=str(tiny_builtin_folder), out=tmp_path / "run", config=path, device="cpu")


POINTS = 2 * torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 1


def rows_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_of_two_stages_leaves_a_mesh_in_three_formats(request_):
    result = generate(request_)
    assert result.outcome == "finished" and result.splats is None and not result.warnings
    names = {"mesh.glb", "mesh.ply", "mesh.obj", "preview.png", "turntable.mp4", "run.yaml", "log.jsonl", "checkpoint"}
    assert {p.name for p in result.folder.iterdir()} == names
    rows = rows_of(result.folder)
    assert all("cells" in row for row in rows[:5]) and all("corners" in row for row in rows[5:])
    assert not any(row.get("skipped") for row in rows)
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["result"]["triangles"] == len(result.mesh.faces) and [s["shape"] for s in record["config"]["stages"]] == ["nerf", "dmtet"]
    for suffix in ("ply", "obj"):
        mesh = trimesh.load(result.folder / f"mesh.{suffix}", force="mesh", process=False)
        assert mesh.is_watertight or trimesh.load(result.folder / f"mesh.{suffix}", force="mesh").is_watertight
    scene = gs3d.load(result.folder / "mesh.glb")
    np.testing.assert_allclose(scene.mesh.vertices, result.mesh.vertices, atol=1e-5)
    assert scene.splats is None and scene.render(gs3d.ring(2, 24)).alpha.max() > 0.9


def test_the_same_seed_makes_the_same_mesh(request_, tmp_path):
    first, again = generate(request_).mesh, generate(dataclasses.replace(request_, out=tmp_path / "again")).mesh
    assert np.array_equal(first.vertices, again.vertices) and np.array_equal(first.texture, again.texture)


@pytest.mark.parametrize("last", [2, 6])
def test_a_run_that_is_broken_off_in_either_stage_ends_as_one_that_is_not(request_, tmp_path, last):
    whole, part = generate(request_), dataclasses.replace(request_, out=tmp_path / "part")

    def stop(entry, budget):
        if entry.step == last:
            os.kill(os.getpid(), signal.SIGINT)

    halted = generate(part, report=stop)
    assert halted.outcome == "interrupted" and halted.steps == last + 1 and halted.mesh is not None
    resumed = generate(dataclasses.replace(part, resume=True))
    assert resumed.steps == 10 and np.array_equal(whole.mesh.vertices, resumed.mesh.vertices)
    assert [row["step"] for row in rows_of(tmp_path / "part")] == list(range(10))


def test_the_surface_begins_as_the_field(request_, monkeypatch):
    begun, real = [], shapes.follow

    def watched(before, stage):
        begun.append((before, real(before, stage)))
        return begun[-1][1]

    monkeypatch.setattr(loop, "follow", watched)
    colours = []
    monkeypatch.setattr(loop, "iterate", lambda *a: colours.append(begun[-1][1].colours.albedo(POINTS) if begun else None) or iterate(*a))
    iterate = step.iterate
    generate(request_)
    ((field, _),) = begun
    torch.testing.assert_close(colours[5], field.field.albedo(POINTS))
    assert not torch.allclose(colours[-1], colours[5])


def test_normal_maps_are_shown_as_often_as_asked_and_named_as_such(request_, monkeypatch):
    asked, real = [], step.normal_map
    monkeypatch.setattr(step, "normal_map", lambda *a: asked.append(1) or real(*a))
    generate(dataclasses.replace(request_, steps=24))
    assert 1 <= len(asked) <= 11  # of the twelve iterations of the second stage, one half or so
    assert of_normals("a DSLR photo of a red car") == of_normals("a red car") == "a normal map of a red car"


def test_without_a_surface_the_run_says_so_and_keeps_what_there_is(request_, monkeypatch):
    def nothing(*_):
        raise UserError("mesh: expected a surface, got none: nothing is left inside it")

    monkeypatch.setattr(finish, "thinned", nothing)
    result = generate(request_)
    assert result.made is None and result.outcome == "finished"
    assert any("expected a surface, got none" in line for line in result.warnings)
    assert {"checkpoint", "run.yaml", "log.jsonl"} <= {p.name for p in result.folder.iterdir()}
    monkeypatch.undo()
    assert generate(dataclasses.replace(request_, resume=True, steps=11)).mesh is not None


def test_a_mesh_that_fails_in_the_library_is_a_warning_too(request_, monkeypatch):
    monkeypatch.setattr(finish, "without_floaters", lambda *_: 1 / 0)
    result = generate(request_)
    assert result.made is None and any("ZeroDivisionError" in line for line in result.warnings)


def test_an_unknown_mode_is_one_line(request_):
    with pytest.raises(UserError, match="--mode three-stage: expected splats or two-stage"):
        generate(dataclasses.replace(request_, mode="three-stage"))


def test_the_mode_picks_the_preset(request_, tiny_sd_folder, tmp_path):
    request = dataclasses.replace(request_, config=None, mode="two-stage", steps=1)
    used = yaml.safe_load((generate(request).folder / "run.yaml").read_text())["config"]
    assert [stage["shape"] for stage in used["stages"]] == ["nerf", "dmtet"] and used["stages"][0]["nerf"]["samples"] == 32
