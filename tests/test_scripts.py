"""Every script and benchmark starts: a name that moved in the package shows here and not on the day somebody needs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gs3d.guidance import GUIDANCE

ROOT = Path(__file__).parents[1]
PROGRAMS = [
    p
    for folder in ("scripts", "benchmarks")
    for p in sorted((ROOT / folder).glob("*.py"))
    if p.name != "record.py"
]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.name)
def test_help(path):
    run = subprocess.run(
        [sys.executable, path, "--help"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert "usage" in run.stdout.lower()


def test_the_iteration_benchmark_runs():
    command = [sys.executable, ROOT / "benchmarks" / "iteration.py", "--runs", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "prior, 8 images" in run.stdout and all(
        run.stdout.count(f"{loss} iteration,") == 2 for loss in GUIDANCE
    )


def test_the_gpu_benchmark_runs(tmp_path):
    """On a small model, without a card."""
    command = [
        sys.executable,
        ROOT / "benchmarks" / "gpu.py",
        "--tiny",
        "--device",
        "cpu",
        "--runs",
        "1",
        "--batches",
        "4",
    ]
    run = subprocess.run([*command, "--out", tmp_path], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    ways = ("", ", tiny autoencoder", ", channels last", ", tiny autoencoder, channels last")
    assert all(rows[f"iteration, splats-15min{way}, batch 4"]["ms"] > 0 for way in ways)


def test_training_on_a_card_asks_for_a_size_it_knows(tmp_path):
    run = subprocess.run(
        [ROOT / "scripts" / "train_on_gpu.sh", tmp_path / "out", "96"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (
        run.returncode == 2
        and run.stdout == "train_on_gpu: 96: expected 64 or 128\n"
        and not (tmp_path / "out").exists()
    )


def test_the_summary_of_a_gpu_check_says_what_failed(tmp_path):
    (tmp_path / "parts.txt").write_text("doctor 1\ntests 0\nspeed 0\nquality 0\n")
    (tmp_path / "doctor.txt").write_text(
        "ok   Python           3.12\nFAIL gsplat           cannot be compiled: no nvcc\nok   disk             9 GB\n"
    )
    (tmp_path / "tests.txt").write_text("...\n===== 24 passed in 9.1s =====\n")
    (tmp_path / "gpu.json").write_text('{"rows": {"iteration": {"ms": 155}}}')
    (tmp_path / "gpu.md").write_text("| iteration | 155 |\n")
    (tmp_path / "quality.txt").write_text(
        "done\n\n| method | kind |\n| --- | --- |\n| sds | 98 |\n\n| split | method |\n\n  report.html\n"
    )
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "summary.py", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (
        run.returncode == 1
        and "| doctor | failed | FAIL gsplat           cannot be compiled: no nvcc |" in run.stdout
    ), run.stderr
    assert (
        "| tests | ok | 24 passed in 9.1s |" in run.stdout
        and "| iteration | 155 |" in run.stdout
        and "| sds | 98 |" in run.stdout
    )
    assert "| split" not in run.stdout and run.stdout.count("missing") == 2  # scaling and repeat
    check = json.loads((tmp_path / "check.json").read_text())
    assert (
        check["ended"] == {"doctor": 1, "tests": 0, "speed": 0, "quality": 0}
        and check["gpu"]["rows"]["iteration"]["ms"] == 155
    )
    (tmp_path / "parts.txt").write_text("doctor 0\n")
    assert (
        subprocess.run(
            [sys.executable, ROOT / "benchmarks" / "summary.py", tmp_path],
            capture_output=True,
            timeout=120,
        ).returncode
        == 0
    )
