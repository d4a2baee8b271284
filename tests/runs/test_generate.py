"""Runs of splats on tiny priors: files, reproducibility, presets, arguments and minutes."""

import dataclasses
import time

import pytest
import torch
import yaml

import gs3d
from gs3d.core.errors import UserError
from gs3d.distill import step
from gs3d.distill.settings.config import load_config
from gs3d.runs.outputs import export_time
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from tests.runs.running import SPLATS, SPLATS_FILES, equal, generate, log_rows


@pytest.mark.parametrize("loss", ["cds", "sds"])
def test_run_writes_all_files_and_record(splats_request, finished_splats, loss):
    result = finished_splats
    if loss == "sds":
        result = generate(dataclasses.replace(splats_request, guidance="sds", steps=2))
    assert result.outcome == "finished" and result.steps == (10 if loss == "cds" else 2)
    assert {p.name for p in result.folder.iterdir()} == SPLATS_FILES
    record = yaml.safe_load((result.folder / "run.yaml").read_text())
    assert record["prompt"] == "a red mushroom" and record["config"]["guidance"] == loss
    assert record["result"].pop("peak_memory_mb") > 50
    count = len(result.splats)
    assert record["result"] == {"outcome": "finished", "steps": result.steps, "splats": count}
    assert record["versions"]["torch"] == torch.__version__
    assert len(record["prior"]["weights_sha256"]) == 64
    first = log_rows(result.folder)[0]
    assert first["step"] == 0 and {"progress", "t", "cfg", "splats", "grad_rms"} <= first.keys()
    written = gs3d.load(result.folder / "splats.ply").splats
    for name in ("means", "scales", "opacities", "sh"):
        torch.testing.assert_close(
            getattr(written, name), getattr(result.splats, name), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("preset", ["splats-15min", "preview"])
def test_presets_for_stable_diffusion_run_on_tiny_model(preset, tiny_sd_folder, tmp_path):
    result = generate(
        Request(
            "a corgi",
            steps=2,
            prior=str(tiny_sd_folder),
            out=tmp_path / "run",
            config=preset,
            set=("gaussians.count=1000",),
            device="cpu",
        )
    )
    assert result.outcome == "finished" and (result.folder / "splats.ply").exists()
    rows = log_rows(result.folder)
    assert rows[0]["grad_rms"] > 0 and not any(row.get("skipped") for row in rows)


def test_multiview_prior_gets_groups_of_cameras(
    splats_request, tiny_multiview_folder, tmp_path, monkeypatch
):
    elevations, sample_cameras = [], step.sample_cameras

    def record_elevations(*args):
        cameras = sample_cameras(*args)
        elevations.append(cameras.elevation_rad)
        return cameras

    monkeypatch.setattr(step, "sample_cameras", record_elevations)
    multiview = dataclasses.replace(splats_request, prior=str(tiny_multiview_folder), steps=4)
    assert generate(multiview).outcome == "finished"
    assert len(elevations) >= 4 and all(e.max() - e.min() < 1e-4 for e in elevations)
    wrong_batch = tmp_path / "wrong_batch.yaml"
    wrong_batch.write_text(SPLATS.replace("batch: 4", "batch: 6"))
    with pytest.raises(
        UserError,
        match="batch: expected a multiple of 4 for a prior that denoises 4 views together, got 6",
    ):
        generate(dataclasses.replace(multiview, config=wrong_batch, out=tmp_path / "other"))


def test_seed_determines_splats(splats_request, finished_splats, tmp_path):
    first = finished_splats.splats
    again = generate(splats_request).splats
    other = generate(dataclasses.replace(splats_request, out=tmp_path / "other", seed=1)).splats
    assert equal(first, again)
    assert not (len(first) == len(other) and equal(first, other))


def test_camera_draws_and_learning_rates_change_the_splats(splats_request, tmp_path):
    def means_after_run(name: str, config: str):
        path = tmp_path / f"{name}.yaml"
        path.write_text(config)
        changes = {"steps": 3, "config": path, "out": tmp_path / name}
        return generate(dataclasses.replace(splats_request, **changes)).splats.means

    # Without densification, so that splats correspond to each other.
    base = SPLATS.replace("start: 0.2, stop: 0.9", "start: 2.0, stop: 3.0")
    means = means_after_run("base", base)
    one_draw = means_after_run("one_draw", base.replace("draws: 4", "draws: 1"))
    assert not torch.equal(means, one_draw)
    slower = means_after_run("slower", base.replace("iterations: 10", "iterations: 1"))
    no_rate = base.replace("iterations: 10", "means: {start: 0.0, end: 0.0}")
    initial = means_after_run("initial", no_rate)
    assert (means - initial).norm() > 2 * (slower - initial).norm() > 0


def test_used_folder_is_refused_and_not_changed(splats_request):
    splats_request.out.mkdir()
    (splats_request.out / "splats.ply").write_text("precious")
    with pytest.raises(UserError, match="already holds splats.ply"):
        generate(splats_request)
    assert (splats_request.out / "splats.ply").read_text() == "precious"


def test_default_folders_are_numbered(splats_request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request, lines = dataclasses.replace(splats_request, out=None, steps=1), []
    folders = [generate(request, say=lines.append).folder.name for _ in range(3)]
    assert folders == ["a-red-mushroom-s0", "a-red-mushroom-s0-2", "a-red-mushroom-s0-3"]
    elsewhere = [line for line in lines if "holds a run already" in line]
    assert len(elsewhere) == 2
    assert elsewhere[0].endswith("a-red-mushroom-s0-2, which --resume takes")


def test_pixel_prior_gets_its_preset(splats_request):
    used = prepare(dataclasses.replace(splats_request, config=None)).config
    assert used == load_config("builtin")


def test_python_api(splats_request, tmp_path):
    scene = gs3d.generate(
        "a green tree",
        steps=2,
        prior=splats_request.prior,
        out=tmp_path / "api",
        config=splats_request.config,
        device="cpu",
    )
    assert scene.outcome == "finished" and scene.folder == tmp_path / "api"
    saved = scene.save(tmp_path / "copy.ply")
    renders = gs3d.load(saved).render(gs3d.ring(3, 40), background=(1.0, 0.0, 0.0))
    assert renders.rgb.shape == (3, 40, 40, 3) and renders.alpha.shape == (3, 40, 40, 1)
    torch.testing.assert_close(renders.rgb[:, 0, 0], torch.tensor([[1.0, 0.0, 0.0]] * 3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_device_is_refused(splats_request):
    with pytest.raises(UserError, match="device cuda: torch finds no CUDA here"):
        generate(dataclasses.replace(splats_request, device="cuda"))
    for name in ("mps", "xpu"):
        if not torch.backends.mps.is_available() and not torch.xpu.is_available():
            with pytest.raises(UserError, match=f"device {name}: torch finds no {name.upper()} he"):
                generate(dataclasses.replace(splats_request, device=name))
    with pytest.raises(
        UserError, match="device meta: expected auto, cpu, cuda, cuda:N, mps or xpu"
    ):
        generate(dataclasses.replace(splats_request, device="meta"))


@pytest.mark.parametrize("budget", [{"steps": 1.5}, {"steps": "3"}, {"minutes": "3"}])
def test_budget_of_wrong_type_is_refused_before_folder_is_created(tmp_path, budget):
    with pytest.raises(UserError, match="expected a (whole )?number"):
        gs3d.generate("a blue car", out=tmp_path / "run", **budget)
    assert not (tmp_path / "run").exists()


def test_run_lasts_the_given_minutes(splats_request, monkeypatch):
    # Reserve as little time for the export as small files need, so that the run can be short.
    monkeypatch.setattr(export_time, "FIXED_S", 0.5)
    monkeypatch.setattr(export_time, "TURNTABLE_FRAMES", 4)
    started = time.monotonic()
    result = generate(dataclasses.replace(splats_request, steps=None, minutes=0.1))
    assert result.outcome == "finished" and result.steps > 5
    expected = f"only {result.steps} iterations fitted into 0.1 min"
    assert any(expected in line for line in result.warnings) == (result.steps < 100)
    # Loose bounds: machines are shared, and benchmarks/ measures the real time.
    assert 3 < time.monotonic() - started < 60
    assert (result.folder / "turntable.mp4").exists()
    progress = [row["progress"] for row in log_rows(result.folder)]
    assert progress == sorted(progress) and progress[0] < 0.1 and progress[-1] > 0.5


def test_too_few_minutes_are_refused_without_leaving_a_folder(splats_request):
    with pytest.raises(UserError, match="nothing is left for the first iteration"):
        generate(dataclasses.replace(splats_request, steps=None, minutes=0.001))
    assert not splats_request.out.exists()


def test_pruning_keeps_some_splats(splats_request):
    rarely_opaque = SPLATS.replace("rounds: 4", "rounds: 9, prune_opacity: 0.45")
    splats_request.config.write_text(rarely_opaque)
    result = generate(splats_request)
    assert result.outcome == "finished" and len(result.splats) >= 15
