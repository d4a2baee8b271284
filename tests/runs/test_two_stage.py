"""Runs of a radiance field and then a surface: files, reproducibility, stages and normal maps."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import trimesh
import yaml

import gs3d
from gs3d.cli.main import main
from gs3d.core.errors import UserError
from gs3d.core.types import Mesh, Render
from gs3d.distill import start, step
from gs3d.distill.settings.config import config_tree, load_config
from gs3d.distill.settings.stages import StageConfig
from gs3d.priors.prompts import ViewPrompts
from gs3d.representations import extract_mesh
from gs3d.representations.meshing.texture import PaintedMesh
from gs3d.runs import loop
from gs3d.runs.prepare import prepare, preset_for
from gs3d.runs.request import Request
from gs3d.runs.setup import normal_map_prompt
from tests.runs.running import (
    FIELD_THEN_SURFACE,
    copy_of,
    generate,
    interrupt_after,
    log_rows,
    request_for,
)
from tests.sweeps import use_few_references

STEPS = 8


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    return request_for(tiny_builtin_folder, tmp_path, FIELD_THEN_SURFACE, STEPS)


@pytest.fixture(scope="module")
def finished(tiny_builtin_folder, tmp_path_factory):
    """The finished run of `request_`."""
    folder = tmp_path_factory.mktemp("two_stage")
    return generate(request_for(tiny_builtin_folder, folder, FIELD_THEN_SURFACE, STEPS))


POINTS = 2 * torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 1


def test_run_writes_mesh_in_three_formats(finished):
    assert finished.outcome == "finished" and finished.splats is None and not finished.warnings
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
    assert {p.name for p in finished.folder.iterdir()} == names
    rows = log_rows(finished.folder)
    assert all("occupied_voxels" in row for row in rows[:4])
    assert all("inner_vertices" in row for row in rows[4:])
    assert not any(row.get("skipped") for row in rows)
    record = yaml.safe_load((finished.folder / "run.yaml").read_text())
    assert record["result"]["triangles"] == len(finished.mesh.faces)
    assert [s["representation"] for s in record["config"]["stages"]] == ["nerf", "dmtet"]
    for suffix in ("ply", "obj"):
        path = finished.folder / f"mesh.{suffix}"
        mesh = trimesh.load(path, force="mesh", process=False)
        assert mesh.is_watertight or trimesh.load(path, force="mesh").is_watertight
    scene = gs3d.load(finished.folder / "mesh.glb")
    np.testing.assert_allclose(scene.mesh.vertices, finished.mesh.vertices, atol=1e-5)
    assert scene.splats is None and scene.render(gs3d.ring(2, 24)).alpha.max() > 0.9


def test_same_seed_gives_same_mesh(request_, finished):
    again = generate(request_).mesh
    assert np.array_equal(finished.mesh.vertices, again.vertices)
    assert np.array_equal(finished.mesh.texture, again.texture)


@pytest.mark.parametrize("last", [1, 3, 5], ids=["first stage", "border", "second stage"])
def test_interrupted_and_resumed_run_equals_uninterrupted_run(request_, finished, last):
    interrupted = generate(request_, report=interrupt_after(last))
    assert interrupted.outcome == "interrupted" and interrupted.steps == last + 1
    assert interrupted.mesh is not None
    resumed = generate(dataclasses.replace(request_, resume=True))
    assert resumed.steps == STEPS
    assert np.array_equal(finished.mesh.vertices, resumed.mesh.vertices)
    assert np.array_equal(finished.mesh.texture, resumed.mesh.texture)
    assert [row["step"] for row in log_rows(request_.out)] == list(range(STEPS))


@pytest.mark.usefixtures("no_results")
def test_surface_starts_with_the_colors_of_the_field(request_, monkeypatch):
    fields, colors = [], []

    def record_field(before, stage):
        surface = start.follow(before, stage)
        fields.append(before.field)
        return surface

    def record_colors(state, *arguments):
        if fields:
            colors.append(state.representation.colors.albedo(POINTS))
        return step.iterate(state, *arguments)

    monkeypatch.setattr(loop, "follow", record_field)
    monkeypatch.setattr(loop, "iterate", record_colors)
    # Normal maps would give no gradients of colors.
    generate(dataclasses.replace(request_, set=("stages.2.normals=0.0",)))
    (field,) = fields
    torch.testing.assert_close(colors[0], field.albedo(POINTS))
    assert len(colors) == STEPS // 2 and not torch.equal(colors[-1], colors[0])


@pytest.mark.usefixtures("no_results")
def test_normal_maps_come_with_their_prompt(request_, monkeypatch):
    iterations_with_map, prompts = [], []
    normal_map, at = step.normal_map, ViewPrompts.at

    def record_map(*arguments):
        iterations_with_map.append(len(prompts))
        return normal_map(*arguments)

    def record_prompt(self, cameras):
        prompts.append(self.prompt)
        return at(self, cameras)

    monkeypatch.setattr(step, "normal_map", record_map)
    monkeypatch.setattr(ViewPrompts, "at", record_prompt)
    generate(dataclasses.replace(request_, steps=24))
    expected = [i for i, p in enumerate(prompts, 1) if p == "a normal map of a red mushroom"]
    assert iterations_with_map == expected and 1 <= len(expected) <= 11
    assert set(prompts) == {"a red mushroom", "a normal map of a red mushroom"}


def test_normal_maps_are_as_frequent_as_configured():
    stage = StageConfig(normals=0.3)
    count = sum(step._uses_normals(stage, 0, i) for i in range(1000))
    assert 255 <= count <= 345  # 300 ± 3 standard deviations
    assert not any(step._uses_normals(StageConfig(), 0, i) for i in range(100))


def test_prompt_for_normal_maps():
    expected = "a normal map of a red car"
    assert normal_map_prompt("a DSLR photo of a red car") == expected
    assert normal_map_prompt("a red car") == expected


def test_normal_map_has_the_colors_of_normals_over_the_background():
    cameras, background = gs3d.ring(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    towards_camera = -cameras.world_to_camera[:, 2, :3]
    alpha = torch.tensor([1.0, 0.25]).view(2, 1, 1, 1).expand(2, 3, 3, 1)
    normals = alpha * towards_camera[:, None, None]
    render = Render(torch.zeros(2, 3, 3, 3), alpha, alpha, normals, {})
    image = step.normal_map(render, cameras, background)
    facing_color = torch.tensor([0.5, 0.5, 1.0])
    torch.testing.assert_close(image[0], facing_color.expand(3, 3, 3))
    blended = 0.25 * facing_color + 0.75 * background[1]
    torch.testing.assert_close(image[1], blended.expand(3, 3, 3))


@pytest.mark.usefixtures("no_results")
def test_added_steps_restart_the_last_stage(request_, finished, monkeypatch):
    progress_of_stage, backward = [], step._backward

    def record_progress(state, task, progress):
        progress_of_stage.append(progress)
        return backward(state, task, progress)

    monkeypatch.setattr(step, "_backward", record_progress)
    request = copy_of(finished, request_)
    generate(dataclasses.replace(request, steps=20, resume=True))
    # 8 of 20 steps are done, and in a new run the surface would start at step 10.
    done = progress_of_stage[-12:]
    assert done[0] == 0.0 and done == pytest.approx([i / 12 for i in range(12)])


def test_failing_texture_leaves_a_mesh_with_vertex_colors(request_, monkeypatch):
    monkeypatch.setattr(PaintedMesh, "textured", lambda *_: 1 / 0)
    result = generate(dataclasses.replace(request_, steps=2))
    assert isinstance(result.mesh, Mesh) and len(result.warnings) == 1
    assert isinstance(gs3d.load(result.folder / "mesh.glb").mesh, Mesh)


def test_evaluate_grades_the_mesh_of_a_run(request_, finished, tmp_path, monkeypatch):
    use_few_references(monkeypatch)
    folder = copy_of(finished, request_).out
    evaluate = ["evaluate", "--from", str(folder), "--out"]
    assert main([*evaluate, str(tmp_path / "grades"), "--scorer", "builtin"]) == 0
    (row,) = json.loads((tmp_path / "grades" / "evaluation.json").read_text())["results"]
    assert row["pieces"] > 10 and row["method"] == "cds" and row["grade"]["floaters"] is None
    assert 0 <= row["grade"]["r_precision"] <= 1 and row["grade"]["chamfer"] > 0
    (folder / "mesh.glb").unlink()
    assert main([*evaluate, str(tmp_path / "none")]) == 2


@pytest.mark.parametrize(
    "mode, counts",
    [
        ("two-stage", ["occupied_voxels"] * 2 + ["inner_vertices"] * 3),
        ("mesh", ["splats"] * 3 + ["inner_vertices"] * 2),
    ],
)
def test_presets_for_stable_diffusion_run_on_tiny_model(tiny_sd_folder, tmp_path, mode, counts):
    """All settings but the sizes; the third stage optimizes only colors."""
    tree, field = (
        config_tree(load_config(mode)),
        {"hidden": 8, "grid": {"levels": 2, "log2_size": 8}},
    )
    for stage in tree["stages"]:
        stage |= {"batch": 4}
        stage["cameras"] |= {"resolution_px": {"at": [0.0], "values": [16]}}
        if "nerf" in stage:
            stage["nerf"] |= {"samples": 8, "occupancy_resolution": 8, "field": field}
        elif "gaussians" in stage:
            stage["gaussians"] |= {"count": 400}
        else:
            stage["dmtet"] |= {"resolution": 12, "field": field}
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(tree))
    counted = []
    request = Request(
        "a corgi",
        steps=5,
        prior=str(tiny_sd_folder),
        out=tmp_path / "run",
        config=path,
        device="cpu",
        mode=mode,
    )
    result = generate(request, report=lambda entry, budget: counted.append(entry.counts))
    assert result.mesh is not None and counted == counts
    assert not any(row.get("skipped") for row in log_rows(result.folder))


def test_run_without_a_surface_warns_and_can_be_resumed(request_, monkeypatch):
    def fail(*_):
        raise UserError("mesh: expected a surface, got none: nothing is left inside it")

    monkeypatch.setattr(extract_mesh, "thinned", fail)
    request = dataclasses.replace(request_, steps=3)
    result = generate(request)
    assert result.asset is None and result.outcome == "finished"
    assert any("expected a surface, got none" in line for line in result.warnings)
    assert {"checkpoint", "run.yaml", "log.jsonl"} <= {p.name for p in result.folder.iterdir()}
    monkeypatch.undo()
    assert generate(dataclasses.replace(request, resume=True, steps=4)).mesh is not None


def test_unexpected_error_of_the_mesh_is_a_warning(request_, monkeypatch):
    monkeypatch.setattr(extract_mesh, "without_floaters", lambda *_: 1 / 0)
    result = generate(dataclasses.replace(request_, steps=2))
    assert result.asset is None and any("ZeroDivisionError" in line for line in result.warnings)


def test_unknown_mode_is_refused(request_):
    with pytest.raises(UserError, match="mode three-stage: expected splats or mesh or two-stage"):
        generate(dataclasses.replace(request_, mode="three-stage"))


def test_mode_selects_the_preset(request_):
    used = prepare(dataclasses.replace(request_, config=None, mode="two-stage")).config
    assert used == load_config("builtin-two-stage")
    assert [stage.representation for stage in used.stages] == ["nerf", "dmtet"]
    for mode in ("mesh", "two-stage"):
        assert preset_for(is_like_builtin=False, minutes=3, mode=mode) == mode
        assert preset_for(is_like_builtin=True, minutes=3, mode=mode) == f"builtin-{mode}"
