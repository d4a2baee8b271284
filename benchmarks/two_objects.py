"""Grade two objects that are made apart and put together, beside one run of the whole prompt.

    python benchmarks/two_objects.py OUT [--steps 300] [--at-once 2] [--limit 24]

Three ways, for each prompt of the list two-objects:

- one run: gs3d generate PROMPT, with 2.2 times the steps;
- apart: the two objects put together, each of so many steps;
- composed: gs3d compose PROMPT, in which a fifth of the steps more goes to both together.

OUT gets a folder for each prompt and results.json with every grade. The same command continues.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import tyro

from gs3d.evaluation.clip import BUILTIN
from gs3d.evaluation.prompts import read_prompts
from gs3d.evaluation.report import Result, markdown, tables, to_json
from gs3d.evaluation.results import Graders, Run, result_of
from gs3d.io import SPLATS, load_splats, save_splats
from gs3d.ops.clean import centered, fitted
from gs3d.runs.folders import slug
from gs3d.world.sample import RADIUS

SETTINGS = ("--prior", "builtin", "--config", "builtin")
TOGETHER = 0.2
"""Share of the steps of an object that `gs3d compose` adds for both together."""


@dataclass(frozen=True)
class Args:
    out: tyro.conf.Positional[Path]
    steps: int = 300
    """Iterations of each object."""
    at_once: int = 2
    """Prompts at a time, each on one core."""
    limit: int = 24
    """Number of prompts, from the first of the list."""


def gs3d(folder: Path, *words: str) -> float:
    """Run a command of gs3d in a folder, with what it prints in log.txt. Returns its seconds."""
    began = time.monotonic()
    with (folder / "log.txt").open("a") as log:
        subprocess.run(
            [sys.executable, "-m", "gs3d", *words, *SETTINGS],
            cwd=folder,
            stdout=log,
            stderr=log,
            check=True,
        )
    return time.monotonic() - began


def make(args: Args, graders: Graders, prompt: str) -> list[Result]:
    """Make what is not there yet of a prompt, and grade all three ways."""
    folder = args.out / slug(prompt)
    (folder / "composed").mkdir(parents=True, exist_ok=True)
    times = folder / "seconds.json"
    if not times.exists():
        whole = str(round((2 + TOGETHER) * args.steps))
        once = gs3d(folder, "generate", prompt, "--steps", whole, "--out", "one-run", "--resume")
        composed = gs3d(
            folder, "compose", prompt, "--steps", str(args.steps), "-o", f"composed/{SPLATS}"
        )
        times.write_text(json.dumps({"one run": once, "composed": composed}))
    seconds = json.loads(times.read_text())
    (placed,) = folder.glob("outputs/*/scene/placed.ply")
    files = {
        "composed": folder / "composed" / SPLATS,
        "apart": placed,
        "one run": folder / "one-run" / SPLATS,
    }
    results = []
    for way, file in files.items():
        run = Run(
            folder=f"{slug(prompt)}/graded/{slug(way)}",
            prompt=prompt,
            method=way,
            seed=0,
            outcome="finished",
            seconds=seconds.get(way, float("nan")),
            memory_mb=None,
        )
        # A scene is larger than an object of gs3d; all three are graded at the size of one.
        (args.out / run.folder).mkdir(parents=True, exist_ok=True)
        splats = fitted(centered(load_splats(file)), RADIUS)
        save_splats(args.out / run.folder / SPLATS, splats)
        results.append(result_of(graders, args.out, run))
    grades = [
        f"{r.method}: kinds {r.grade.kind_right:.0%}, colors {r.grade.color_right:.0%}"
        for r in results
    ]
    print(f"{prompt}  {'; '.join(grades)}", flush=True)
    return results


def main(args: Args) -> None:
    torch.set_num_threads(1)
    prompts = tuple(read_prompts("two-objects").meanings)
    graders = Graders.of(prompts, BUILTIN)
    with ThreadPoolExecutor(args.at_once) as pool:
        made = list(pool.map(partial(make, args, graders), prompts[: args.limit]))
    results = [result for way in zip(*made, strict=True) for result in way]
    (args.out / "results.json").write_text(
        json.dumps({"steps": args.steps, "graders": graders.digest, "results": to_json(results)})
    )
    shown = tables(results)
    print(markdown({title: shown[title] for title in ("Methods", "Differences")}))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
