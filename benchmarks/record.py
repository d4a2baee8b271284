"""Rows of results.jsonl: what was measured, when, on which commit and machine."""

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results.jsonl"


def cpu_model() -> str:
    if (info := Path("/proc/cpuinfo")).exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Short hash of the checkout, with a + when it has changes that are not committed; "none" outside one."""
    here = Path(__file__).parent
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"],
        capture_output=True,
        text=True,
        cwd=here,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else "none"


def machine() -> dict:
    """The part that every row shares."""
    row = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load_before": round(os.getloadavg()[0], 2),
    }
    return row | ({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def append(benchmark: str, row: dict, shared: dict | None = None) -> None:
    """Add one row; `shared` is what `machine()` said before the measurement."""
    with RESULTS.open("a") as file:
        file.write(json.dumps({"benchmark": benchmark} | (shared or machine()) | row) + "\n")
