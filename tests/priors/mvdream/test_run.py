"""A run of two iterations with a tiny MVDream, and samples of it."""

import yaml

from tests.priors.running import run
from tests.programs import run_program


def test_run(tiny_mvdream_folder, tmp_path):
    result = run(tmp_path, tiny_mvdream_folder, batch=8)
    assert (result.folder / "splats.ply").is_file()
    record = yaml.safe_load((result.folder / "run.yaml").read_text())["prior"]
    assert (record["views"], record["license"]) == (4, "openrail++")
    assert record["source"] == str(tiny_mvdream_folder)


def test_run_on_fake_cuda(tiny_mvdream_folder, tmp_path, card):
    """In half precision, with cameras that begin on the CPU."""
    run(tmp_path, tiny_mvdream_folder, "cuda", batch=8)
    assert card.landed > 1000


def test_samples_have_one_camera_for_each_view(tiny_mvdream_folder, tmp_path, monkeypatch, capsys):
    options = ["--prior", str(tiny_mvdream_folder), "--prompts", "a red car", "--steps", "2"]
    sheet = tmp_path / "samples.png"
    script = "scripts/sample_prior.py"
    assert run_program(monkeypatch, script, *options, "--each", "2", "--out", str(sheet)) == 0
    assert capsys.readouterr().out.startswith("8 images") and sheet.is_file()
