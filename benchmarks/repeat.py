"""How much a run repeats: the same command alone twice, and twice at once, on one device.

    python benchmarks/repeat.py [--device cuda] [--steps 200] [--record]    prints a table, writes repeat.json and .md into --out

What each pair of them made is compared in eight views, as peak signal to noise in dB; on a CPU all four are the same to the bit. On CUDA
sums are taken in an order that changes, so that runs drift apart; two at once must not be further apart than two alone.
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
    prompt: str = "a red mushroom with white spots"
    prior: str = "builtin"
    config: str = "builtin"
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    steps: int = 200
    record: bool = False


def started(args: Args, folder: Path) -> subprocess.Popen:
    what = [
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
        [sys.executable, "-m", "gs3d", "generate", args.prompt, *what], stdout=subprocess.DEVNULL
    )


def ended(*processes: subprocess.Popen) -> None:
    if any([process.wait() for process in processes]):  # all of them, whatever the first says
        raise SystemExit("a run failed; its words are above")


def decibels(one: torch.Tensor, other: torch.Tensor) -> float:
    error = float((one - other).square().mean())
    return math.inf if error == 0 else round(-10 * math.log10(error), 1)


def main(args: Args) -> None:
    shared, runs = machine(), ("alone", "alone again", "beside another", "the other")
    with tempfile.TemporaryDirectory() as root:
        folders = [Path(root) / name.replace(" ", "-") for name in runs]
        for folder in folders[:2]:
            ended(started(args, folder))
        ended(*[started(args, folder) for folder in folders[2:]])
        made = [gs3d.load(folder) for folder in folders]
    views = [scene.render(gs3d.ring(8, 128)).rgb for scene in made]
    pairs = {
        f"{a}, {b}": decibels(x, y)
        for (a, x), (b, y) in itertools.combinations(zip(runs, views, strict=True), 2)
    }
    row = {
        "device": args.device,
        "steps": args.steps,
        "decibels": {k: None if math.isinf(v) else v for k, v in pairs.items()},
    }
    row |= {"splats": dict(zip(runs, map(len, made), strict=True))}
    lines = ["| of the four runs | dB |", "|---|---|"]
    lines += [
        f"| {name} | {'the same to the bit' if math.isinf(value) else value} |"
        for name, value in pairs.items()
    ]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "repeat.json").write_text(json.dumps(shared | row, indent=2) + "\n")
    (args.out / "repeat.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    if args.record:
        append("repeat", row, shared)


if __name__ == "__main__":
    main(tyro.cli(Args))
