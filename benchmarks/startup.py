"""Measure startup times: median seconds of complete processes, and of the parts of a short run.

`python benchmarks/startup.py [--record]`
"""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
import yaml
from record import append

CASES = {
    "import torch": [sys.executable, "-c", "import torch"],
    "import torch, gs3d.generate": [
        sys.executable,
        "-c",
        "import torch, gs3d; gs3d.generate, gs3d.load",
    ],
    "gs3d --help": [sys.executable, "-m", "gs3d", "--help"],
    "gs3d generate --help": [sys.executable, "-m", "gs3d", "generate", "--help"],
}
RUN = [sys.executable, "-m", "gs3d", "generate", "a red mushroom", "--steps", "1"]
RUN += ["--prior", "builtin", "--device", "cpu", "--out"]
"""A run of one iteration."""
BEFORE = ("start", "prior", "setup")
"""Parts of a run before its first iteration, as run.yaml names them."""


@dataclass(frozen=True)
class Args:
    runs: int = 7
    """Timed runs per command."""
    record: bool = False
    """Append the result to results.jsonl."""


def run_once() -> dict[str, float]:
    """Seconds of a run of one iteration, and of its parts."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([*RUN, f"{folder}/run"], check=True, capture_output=True)
        seconds = time.perf_counter() - start
        parts = yaml.safe_load(Path(folder, "run", "run.yaml").read_text())["timings_s"]
    return {
        "a run of one iteration": seconds,
        "its first iteration begins after": sum(parts[name] for name in BEFORE),
        "of that, the prior": parts["prior"],
        "its files take": parts["export"],
    }


def main(args: Args) -> None:
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(args.runs + 1):  # alternating, so that load on the machine affects all of them
        for name, command in CASES.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[name].append(time.perf_counter() - start)
        for name, seconds in run_once().items():
            times.setdefault(name, []).append(seconds)
    medians = {name: round(statistics.median(t[1:]), 3) for name, t in times.items()}
    for name, seconds in medians.items():
        print(f"{name:<34} {seconds:.2f} s")
    beyond_torch = medians["import torch, gs3d.generate"] - medians["import torch"]
    print(f"gs3d beyond torch: {beyond_torch:.2f} s")
    if args.record:
        append("startup", {"seconds": medians, "runs": args.runs})


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
