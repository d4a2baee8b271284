"""Measure how reproducible a run is: the same command twice in sequence and twice in parallel.

    python benchmarks/repeat.py [--device cuda] [--steps 200] [--record]

Prints a table and writes repeat.json and repeat.md to --out. Each pair of the four results is
compared in eight views by peak signal-to-noise ratio in dB. On a CPU all four are equal to the bit.
On CUDA the order of sums varies, so runs diverge; parallel runs must not differ more than
sequential ones.
"""

import itertools
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from record import append, machine

import gs3d


@dataclass(frozen=True)
class Args:
    out: Path = Path("outputs/gpu")
    """Output directory."""
    prompt: str = "a red mushroom with white spots"
    """Prompt of the runs."""
    prior: str = "builtin"
    """Prior as for gs3d generate."""
    config: str = "builtin"
    """Preset or YAML file of the runs."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Device of the runs."""
    steps: int = 200
    """Iterations per run."""
    record: bool = False
    """Append the result to results.jsonl."""


def start(args: Args, folder: Path) -> subprocess.Popen:
    """Start a run that writes to `folder`."""
    options = [
        "--steps",
        str(args.steps),
        "--prior",
        args.prior,
        "--config",
        args.config,
        "--device",
        args.device,
        "--out",
        str(folder),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "gs3d", "generate", args.prompt, *options],
        stdout=subprocess.DEVNULL,
    )


def wait(*processes: subprocess.Popen) -> None:
    """Wait for all runs, and exit if one of them failed."""
    # A list, because any() over a generator would stop waiting at the first failure.
    if any([process.wait() for process in processes]):
        raise SystemExit("a run failed; see its messages above")


def decibels(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the peak signal-to-noise ratio of two images in [0, 1]; infinite if they are equal."""
    error = float((one - other).square().mean())
    return math.inf if error == 0 else round(-10 * math.log10(error), 1)


def main(args: Args) -> None:
    shared, runs = machine(), ("alone", "alone again", "beside another", "the other")
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / name.replace(" ", "-") for name in runs]
        for folder in folders[:2]:
            wait(start(args, folder))
        wait(*[start(args, folder) for folder in folders[2:]])
        assets = [gs3d.load(folder) for folder in folders]
    views = [asset.render(gs3d.ring(8, 128)).rgb for asset in assets]
    pairs = {
        f"{a}, {b}": decibels(x, y)
        for (a, x), (b, y) in itertools.combinations(zip(runs, views, strict=True), 2)
    }
    row = {
        "device": args.device,
        "steps": args.steps,
        "decibels": {k: None if math.isinf(v) else v for k, v in pairs.items()},
    }
    row |= {"splats": dict(zip(runs, map(len, assets), strict=True))}
    lines = ["| pair of runs | PSNR in dB |", "|---|---|"]
    lines += [
        f"| {name} | {'equal to the bit' if math.isinf(value) else value} |"
        for name, value in pairs.items()
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "repeat.json").write_text(json.dumps(shared | row, indent=2) + "\n")
    (args.out / "repeat.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if args.record:
        append("repeat", row, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
