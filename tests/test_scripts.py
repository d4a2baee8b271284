"""Every script and benchmark starts: a name that moved in the package shows here and not on the day somebody needs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from gs3d.guidance import GUIDANCE

ROOT = Path(__file__).parents[1]
PROGRAMS = [p for folder in ("scripts", "benchmarks") for p in sorted((ROOT / folder).glob("*.py")) if p.name != "record.py"]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.name)
def test_help(path):
    run = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "usage" in run.stdout.lower()


def test_the_iteration_benchmark_runs():
    command = [sys.executable, ROOT / "benchmarks" / "iteration.py", "--runs", "1"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "prior, 8 images" in run.stdout and all(run.stdout.count(f"{loss} iteration,") == 2 for loss in GUIDANCE)
