"""Scripts and benchmarks start: their imports and options follow changes of the package."""

import dataclasses
import json
import os
import subprocess
import sys
import warnings

import pytest
import torch

from gs3d.evaluation.report import to_json
from gs3d.experiments.methods import Method
from gs3d.guidance import GUIDANCE
from gs3d.io import save_splats
from tests.cli.assets.files import ball
from tests.evaluation.test_report import result
from tests.programs import ROOT, run_program

MODULES = ("record.py", "gpu_timing.py", "scale_model.py", "scale_parts.py", "training_options.py")
"""Files that other scripts import and that are not run themselves."""
PROGRAMS = [
    f"{folder}/{path.name}"
    for folder in ("scripts", "benchmarks")
    for path in sorted((ROOT / folder).glob("*.py"))
    if path.name not in MODULES
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(program, capsys, monkeypatch):
    assert run_program(monkeypatch, program, "--help") == 0
    assert "usage" in capsys.readouterr().out.lower()


FORMER_OPTIONS = """
import sys, tyro
sys.path.insert(0, "scripts")
import train_builtin_prior, train_classifier, train_clip
required = ["--pool", "a", "--out", "b", "--half"]
print(tyro.cli(train_builtin_prior.Args, args=[*required, "--compile"]))
print(tyro.cli(train_classifier.Args, args=[*required, "--marks-only"]))
print(tyro.cli(train_clip.Args, args=[*required, "False", "--compile", "--marks-only"]))
"""


def test_training_scripts_accept_former_option_names():
    run = subprocess.run(
        [sys.executable, "-c", FORMER_OPTIONS], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    prior, classifier, clip = run.stdout.splitlines()
    for args in (prior, classifier, clip):
        assert "Path('a')" in args or 'Path("a")' in args
    assert "half=True" in prior and "compile=True" in prior
    assert "half=True" in classifier and "metrics_only=True" in classifier
    assert "half=False" in clip and "compile=True" in clip and "metrics_only=True" in clip


def test_iteration_benchmark_runs(capsys, monkeypatch):
    assert run_program(monkeypatch, "benchmarks/iteration.py", "--runs", "1") == 0
    out = capsys.readouterr().out
    assert "prior, 8 images" in out
    assert all(out.count(f"{guidance} iteration,") == 2 for guidance in GUIDANCE)


def test_oracle_benchmark_comes_nearer_with_more_steps(capsys, monkeypatch):
    def psnr(steps: int) -> float:
        options = ["--prompts", "a red ball", "--steps", steps, "--set"]
        options += ["gaussians.count=300", "cameras.resolution_px.values=[32, 32, 32]"]
        assert run_program(monkeypatch, "benchmarks/oracle.py", *map(str, options)) == 0
        return float(capsys.readouterr().out.split("a red ball")[1].split()[0])

    assert psnr(2) + 1 < psnr(25)


def test_gpu_benchmark_runs_with_a_small_model_on_a_cpu(tmp_path, monkeypatch):
    options = ["--tiny", "--device", "cpu", "--runs", "1", "--batches", "4", "--out", tmp_path]
    assert run_program(monkeypatch, "benchmarks/gpu.py", *options) == 0
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    changes = ("", ", tiny backward", ", tiny autoencoder")
    names = [f"iteration, splats-15min{change}, batch 4" for change in changes]
    names += [f"iteration, two-stage: {stage}, batch 4" for stage in ("nerf", "dmtet")]
    assert all(rows[name]["ms"] > 0 and rows[name]["skipped"] == 0 for name in names)
    assert rows[names[0]]["over_parts"] > 0


def test_gpu_benchmark_of_compiled_networks(tmp_path, monkeypatch):
    """Without compiling: tests/priors/loading/test_compile.py does that."""
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **_: compiled.append(type(self)))
    options = ["--compile", "--tiny", "--device", "cpu", "--runs", "1", "--batches", "4"]
    assert run_program(monkeypatch, "benchmarks/gpu.py", *options, "--out", tmp_path) == 0
    assert [cls.__name__ for cls in compiled] == ["UNet2DConditionModel", "Encoder", "EncoderTiny"]
    rows = json.loads((tmp_path / "gpu-compiled.json").read_text())["rows"]
    for change in ("channels last", "channels last, compiled"):
        assert rows[f"network, {change}, batch 4"]["ms"] > 0
        for variant in ("", ", tiny backward"):
            assert rows[f"iteration, splats-15min{variant}, {change}, batch 4"]["ms"] > 0


def test_gpu_check_with_a_spent_budget_leaves_all_out(tmp_path):
    """It goes through all of its parts, and says why there is nothing."""
    environment = {**os.environ, "BUDGET_S": "0", "DRY": "1", "PYTHON": sys.executable}
    run = subprocess.run(
        [ROOT / "scripts" / "gpu_check.sh", tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )
    assert run.returncode == 0, run.stderr
    parts = [line.split() for line in (tmp_path / "out" / "parts.txt").read_text().splitlines()]
    assert [name for name, *_ in parts][:5] == ["doctor", "tests", "speed", "stand-in", "compiled"]
    assert len(parts) == 11 and {status for _, status, _ in parts} == {"124"}
    assert "| speed | no time left |" in (tmp_path / "out" / "check.md").read_text()
    environment["BUDGET_S"] = "soon"
    run = subprocess.run(
        [ROOT / "scripts" / "gpu_check.sh", tmp_path / "other"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    assert run.returncode == 2 and not (tmp_path / "other").exists()
    assert run.stdout == "gpu_check: BUDGET_S soon: expected a whole number of seconds\n"


def test_waits_are_read_from_warnings(monkeypatch):
    """As torch gives them with `set_sync_debug_mode`, one for each."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_timing

    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def call():
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation", UserWarning, stacklevel=1)
        warnings.warn("something else", UserWarning, stacklevel=1)

    found = gpu_timing.waits(call, cuda=True)
    assert found["waits"] == 3 and sum(found["waits_at"].values()) == 3
    assert [place.partition(":")[0] for place in found["waits_at"]] == ["test_scripts.py"]
    assert modes == ["warn", "default"] and gpu_timing.waits(call, cuda=False) == {}


def test_train_on_gpu_rejects_an_unknown_size(tmp_path):
    run = subprocess.run(
        [ROOT / "scripts" / "train_on_gpu.sh", tmp_path / "out", "96"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2 and run.stdout == "train_on_gpu: 96: expected 64 or 128\n"
    assert not (tmp_path / "out").exists()


def test_methods_of_weights_day_are_settings_that_exist():
    text = (ROOT / "scripts" / "weights_day.sh").read_text()
    methods = text.partition("--methods")[2].replace("\\", "").split()
    assert len(methods) == 8
    for method in methods:
        Method.parse(method).settings("splats-15min")


def test_summary_of_a_gpu_check_lists_failures(tmp_path, capsys, monkeypatch):
    (tmp_path / "parts.txt").write_text("doctor 1 80\ntests 0 9\nspeed 0 60\nquality 0 70\n")
    (tmp_path / "doctor.txt").write_text(
        "ok   Python           3.12\n"
        "FAIL gsplat           cannot be compiled: no nvcc\n"
        "ok   disk             9 GB\n"
    )
    (tmp_path / "tests.txt").write_text("...\n===== 24 passed in 9.1s =====\n")
    (tmp_path / "gpu.json").write_text('{"rows": {"iteration": {"ms": 155}}}')
    (tmp_path / "gpu.md").write_text("| iteration | 155 |\n")
    (tmp_path / "quality.txt").write_text(
        "done\n\n| method | kind |\n| --- | --- |\n| sds | 98 |\n\n"
        "| split | method |\n\n  report.html\n"
    )
    assert run_program(monkeypatch, "benchmarks/summary.py", tmp_path) == 1
    out = capsys.readouterr().out
    assert "| doctor | failed | 80 | FAIL gsplat           cannot be compiled: no nvcc |" in out
    assert "| tests | ok | 9 | 24 passed in 9.1s |" in out
    assert "| iteration | 155 |" in out and "| sds | 98 |" in out
    assert "| split" not in out
    assert out.count("missing") == 4  # gpu-compiled, scaling, repeat and stand-in
    check = json.loads((tmp_path / "check.json").read_text())
    assert check["ended"] == {"doctor": 1, "tests": 0, "speed": 0, "quality": 0}
    assert check["gpu"]["rows"]["iteration"]["ms"] == 155


def test_summary_of_a_passed_gpu_check_has_exit_status_0(tmp_path, monkeypatch):
    (tmp_path / "parts.txt").write_text("doctor 0 80\nrepeat 124 0\n")
    assert run_program(monkeypatch, "benchmarks/summary.py", tmp_path) == 0
    check = json.loads((tmp_path / "check.json").read_text())
    assert check["seconds"] == {"doctor": 80, "repeat": 0}


def test_league_page_is_small_and_shows_the_runs(monkeypatch, tmp_path, capsys):
    results = [dataclasses.replace(result(m), folder=m) for m in ("cds", "sds")]
    for r in results:
        (tmp_path / r.folder).mkdir()
        save_splats(tmp_path / r.folder / "splats.ply", ball(40))
    tree = {"settings": {"budget": "--steps 1"}, "pooled": [], "results": to_json(results)}
    (tmp_path / "evaluation.json").write_text(json.dumps(tree))
    out = tmp_path / "league.html"
    assert run_program(monkeypatch, "scripts/make_league.py", str(tmp_path), "--out", str(out)) == 0
    page = out.read_text()
    assert page.count('class="turn r') == 2 and "2 of 2" in page and "cds minus sds" in page
