"""Rows of results.jsonl: measurements with their date, commit and machine."""

import datetime
import json
import os
import platform
import subprocess
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results.jsonl"


def cpu_model() -> str:
    """Return the name of the CPU."""
    if (info := Path("/proc/cpuinfo")).exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Return the short hash of the checkout, or "none" outside a checkout.

    A + marks uncommitted changes.
    """
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
    """Return the fields that all rows share."""
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
    """Append a row to results.jsonl; `shared` is `machine()` from before the measurement."""
    with RESULTS.open("a") as file:
        file.write(json.dumps({"benchmark": benchmark} | (shared or machine()) | row) + "\n")
