"""Runs of a field, or of splats, and then a surface, on a tiny prior: what they leave, that they repeat and resume in either stage."""

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
from gs3d.cli.main import main
from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, Render
from gs3d.distill import start as shapes
from gs3d.distill import step
from gs3d.distill.config import config_tree, load_config
from gs3d.priors.prompts import ViewPrompts
from gs3d.representations import extract_mesh as finish
from gs3d.representations.meshing.texture import PaintedMesh
from gs3d.runs import loop
from gs3d.runs.prepare import preset_for
from gs3d.runs.request import Request
from gs3d.runs.setup import normal_map_prompt
from tests.runs.running import generate

CONFIG = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
losses:
  cds: {cfg: {start: 5, end: 5}}
  sds: {cfg: {start: 5, end: 5}}
stages:
  - representation: nerf
    nerf:
      samples: 8
      occupancy_resolution: 8
      occupancy_every: 2
      field: {hidden: 8, grid: {levels: 3, log2_size: 10, coarsest: 4, finest: 16}}
  - {representation: dmtet, normals: 0.5, dmtet: {resolution: 12}}
"""


pytestmark = pytest.mark.usefixtures("small_files")


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return Request(
        "a red mushroom",
        steps=10,
        prior=str(tiny_builtin_folder),
        out=tmp_path / "run",
        config=path,
        device="cpu",
    )


POINTS = 2 * torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 1


def rows_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_of_two_stages_leaves_a_mesh_in_three_formats(request_):
    result = generate(request_)
    assert result.outcome == "finished" and result.splats is None and not result.warnings
    names = {
        "mesh.glb",
        "mesh.ply",
        "mesh.obj",
        "preview.png",
        "turntable.mp4",
        "progress.png",
        "run.yaml",
        "log.jsonl",
        "log.png",
        "checkpoint",
    }
    assert {p.name for p in result.folder.iterdir()} == names
    rows = rows_of(result.folder)
    assert all("occupied_voxels" in row for row in rows[:5]) and all(
        "inner_vertices" in row for row in rows[5:]
    )
    assert not any(row.get("skipped") for row in rows)
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["result"]["triangles"] == len(result.mesh.faces) and [
        s["representation"] for s in record["config"]["stages"]
    ] == ["nerf", "dmtet"]
    for suffix in ("ply", "obj"):
        mesh = trimesh.load(result.folder / f"mesh.{suffix}", force="mesh", process=False)
        assert (
            mesh.is_watertight
            or trimesh.load(result.folder / f"mesh.{suffix}", force="mesh").is_watertight
        )
    scene = gs3d.load(result.folder / "mesh.glb")
    np.testing.assert_allclose(scene.mesh.vertices, result.mesh.vertices, atol=1e-5)
    assert scene.splats is None and scene.render(gs3d.ring(2, 24)).alpha.max() > 0.9


def test_the_same_seed_makes_the_same_mesh(request_, tmp_path):
    first, again = (
        generate(request_).mesh,
        generate(dataclasses.replace(request_, out=tmp_path / "again")).mesh,
    )
    assert np.array_equal(first.vertices, again.vertices) and np.array_equal(
        first.texture, again.texture
    )


@pytest.mark.parametrize("last", [2, 4, 6])
def test_a_run_that_is_broken_off_in_either_stage_ends_as_one_that_is_not(request_, tmp_path, last):
    whole, part = generate(request_), dataclasses.replace(request_, out=tmp_path / "part")

    def stop(entry, budget):
        if entry.step == last:
            os.kill(os.getpid(), signal.SIGINT)

    halted = generate(part, report=stop)
    assert halted.outcome == "interrupted" and halted.steps == last + 1 and halted.mesh is not None
    resumed = generate(dataclasses.replace(part, resume=True))
    assert resumed.steps == 10 and np.array_equal(whole.mesh.vertices, resumed.mesh.vertices)
    assert np.array_equal(whole.mesh.texture, resumed.mesh.texture)
    assert [row["step"] for row in rows_of(tmp_path / "part")] == list(range(10))


def test_the_surface_begins_as_the_field(request_, monkeypatch):
    begun, real = [], shapes.follow

    def watched(before, stage):
        begun.append((before, real(before, stage)))
        return begun[-1][1]

    monkeypatch.setattr(loop, "follow", watched)
    colors = []
    monkeypatch.setattr(
        loop,
        "iterate",
        lambda *a: (
            colors.append(begun[-1][1].colors.albedo(POINTS) if begun else None) or iterate(*a)
        ),
    )
    iterate = step.iterate
    generate(request_)
    ((field, _),) = begun
    torch.testing.assert_close(colors[5], field.field.albedo(POINTS))
    assert not torch.allclose(colors[-1], colors[5])


def test_normal_maps_are_shown_as_often_as_asked_and_asked_for_as_such(request_, monkeypatch):
    shown, asked, real_map, real_at = [], [], step.normal_map, ViewPrompts.at
    monkeypatch.setattr(step, "normal_map", lambda *a: shown.append(len(asked)) or real_map(*a))
    monkeypatch.setattr(
        ViewPrompts, "at", lambda self, cameras: asked.append(self.prompt) or real_at(self, cameras)
    )
    generate(dataclasses.replace(request_, steps=120))
    maps = [i for i, prompt in enumerate(asked, 1) if prompt == "a normal map of a red mushroom"]
    assert shown == maps and set(asked) == {"a red mushroom", "a normal map of a red mushroom"}
    assert 18 <= len(maps) <= 42  # half of sixty
    assert (
        normal_map_prompt("a DSLR photo of a red car")
        == normal_map_prompt("a red car")
        == "a normal map of a red car"
    )


def test_a_normal_map_is_the_colors_of_where_it_faces_over_the_background():
    cameras, background = gs3d.ring(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    towards = -cameras.world_to_camera[:, 2, :3]
    alpha = torch.tensor([1.0, 0.25]).view(2, 1, 1, 1).expand(2, 3, 3, 1)
    out = Render(torch.zeros(2, 3, 3, 3), alpha, alpha, alpha * towards[:, None, None], {})
    seen = step.normal_map(out, cameras, background)
    torch.testing.assert_close(seen[0], torch.tensor([0.5, 0.5, 1.0]).expand(3, 3, 3))
    torch.testing.assert_close(
        seen[1], (0.25 * torch.tensor([0.5, 0.5, 1.0]) + 0.75 * background[1]).expand(3, 3, 3)
    )


def test_a_finished_run_with_more_steps_spends_them_on_its_last_stage_from_the_beginning(
    request_, monkeypatch
):
    generate(request_)
    went, real = [], step._backward
    monkeypatch.setattr(
        step,
        "_backward",
        lambda state, task, progress: went.append(progress) or real(state, task, progress),
    )
    generate(dataclasses.replace(request_, steps=40, resume=True))
    # A quarter of the new length is done, and the surface would only begin at one half.
    went = went[-30:]
    assert went[0] == 0.0 and went == pytest.approx([i / 30 for i in range(30)])


def test_the_texture_failing_leaves_a_mesh_with_a_color_a_vertex(request_, monkeypatch):
    monkeypatch.setattr(PaintedMesh, "textured", lambda *_: 1 / 0)
    result = generate(request_)
    assert isinstance(result.mesh, Mesh) and len(result.warnings) == 1
    assert isinstance(gs3d.load(result.folder / "mesh.glb").mesh, Mesh)


def test_a_mesh_is_graded_from_its_runs_folder(request_, tmp_path):
    folder = generate(request_).folder
    assert (
        main(
            [
                "evaluate",
                "--from",
                str(folder),
                "--out",
                str(tmp_path / "marks"),
                "--scorer",
                "builtin",
            ]
        )
        == 0
    )
    (row,) = json.loads((tmp_path / "marks" / "evaluation.json").read_text())["results"]
    assert row["pieces"] > 10 and row["method"] == "cds" and row["grade"]["floaters"] is None
    assert 0 <= row["grade"]["r_precision"] <= 1 and row["grade"]["chamfer"] > 0
    (folder / "mesh.glb").unlink()
    assert main(["evaluate", "--from", str(folder), "--out", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("mode, first", [("two-stage", "occupied_voxels"), ("mesh", "splats")])
def test_the_stages_for_stable_diffusion_run_on_a_tiny_one(tiny_sd_folder, tmp_path, mode, first):
    """All but their size: three stages, the last of colors alone."""
    tree = config_tree(load_config(mode))
    for stage in tree["stages"]:
        stage |= {"batch": 4}
        stage["cameras"] |= {"resolution_px": {"at": [0.0], "values": [16]}}
        if "nerf" in stage:
            stage["nerf"] |= {
                "samples": 8,
                "occupancy_resolution": 8,
                "field": {"hidden": 8, "grid": {"levels": 2, "log2_size": 8}},
            }
        elif "gaussians" in stage:
            stage["gaussians"] |= {"count": 400}
        else:
            stage["dmtet"] |= {"resolution": 12, "field": {}}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(tree))
    counted = []
    request = Request(
        "a corgi",
        steps=10,
        prior=str(tiny_sd_folder),
        out=tmp_path / "run",
        config=path,
        device="cpu",
        mode=mode,
    )
    result = generate(request, report=lambda entry, budget: counted.append(entry.counts))
    assert result.mesh is not None and counted == [first] * counted.count(first) + [
        "inner_vertices"
    ] * (10 - counted.count(first))
    assert 4 <= counted.count(first) <= 5
    assert not any(row.get("skipped") for row in rows_of(result.folder))


def test_without_a_surface_the_run_says_so_and_keeps_what_there_is(request_, monkeypatch):
    def nothing(*_):
        raise UserError("mesh: expected a surface, got none: nothing is left inside it")

    monkeypatch.setattr(finish, "thinned", nothing)
    result = generate(request_)
    assert result.asset is None and result.outcome == "finished"
    assert any("expected a surface, got none" in line for line in result.warnings)
    assert {"checkpoint", "run.yaml", "log.jsonl"} <= {p.name for p in result.folder.iterdir()}
    monkeypatch.undo()
    assert generate(dataclasses.replace(request_, resume=True, steps=11)).mesh is not None


def test_a_mesh_that_fails_in_the_library_is_a_warning_too(request_, monkeypatch):
    monkeypatch.setattr(finish, "without_floaters", lambda *_: 1 / 0)
    result = generate(request_)
    assert result.asset is None and any("ZeroDivisionError" in line for line in result.warnings)


def test_an_unknown_mode_is_one_line(request_):
    with pytest.raises(UserError, match="mode three-stage: expected splats or mesh or two-stage"):
        generate(dataclasses.replace(request_, mode="three-stage"))


def test_the_mode_picks_the_preset(request_):
    request = dataclasses.replace(request_, config=None, mode="two-stage", steps=1)
    used = yaml.safe_load((generate(request).folder / "run.yaml").read_text())["config"]
    assert [stage["representation"] for stage in used["stages"]] == ["nerf", "dmtet"] and used[
        "stages"
    ][0]["nerf"]["samples"] == 32
    for mode in ("mesh", "two-stage"):
        assert (
            preset_for(in_pixels=False, minutes=3, mode=mode) == mode
            and preset_for(in_pixels=True, minutes=3, mode=mode) == f"builtin-{mode}"
        )
