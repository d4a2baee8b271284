"""Grade two objects that are made apart and put together, beside one run of the whole prompt.

    python benchmarks/two_objects.py OUT [--steps 300] [--at-once 2] [--limit 24]

Three ways, for each prompt of the list two-objects:

- composed: gs3d compose PROMPT, in which a fifth of the steps more goes to both together;
- apart: the two objects put together, each of so many steps;
- one run: gs3d generate PROMPT, with 2.2 times the steps.

Beside them, what the metrics say of true objects of the prompt, and of others in their place: those
of the prompt half a list away, which shares no kind with it. OUT gets a folder for each prompt and
results.json with every grade. The same command continues.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import tyro
from record import commit

from gs3d.core.types import Splats
from gs3d.evaluation.clip import BUILTIN
from gs3d.evaluation.prompts import read_prompts
from gs3d.evaluation.reference import reference_splats
from gs3d.evaluation.report import Result, markdown, tables, to_json
from gs3d.evaluation.results import Graders, Run, result_of
from gs3d.io import SPLATS, load_splats, save_splats
from gs3d.ops.clean import centered, fitted
from gs3d.runs.folders import slug
from gs3d.world.captions import Meaning
from gs3d.world.prompt_parser import parse_prompt
from gs3d.world.sample import RADIUS, reference_objects

SETTINGS = ("--prior", "builtin", "--config", "builtin")
TOGETHER = 0.2
"""Share of the steps of an object that `gs3d compose` adds for both together."""
NOT_TIMED = 0.0
COMPARED = 24
"""Reference objects that a grade compares with; the next one is graded as a true object."""


@dataclass(frozen=True)
class Args:
    out: tyro.conf.Positional[Path]
    steps: int = 300
    """Iterations of each object."""
    at_once: int = 2
    """Prompts at a time, each on one core."""
    limit: int = 24
    """Number of prompts, from the first of the list."""


def timed(folder: Path, name: str, *words: str) -> float:
    """Seconds of a command of gs3d in a folder, which is run if it has not ended yet. What it
    prints is in NAME.txt."""
    done = folder / f"{name}.seconds"
    if not done.exists():
        began = time.monotonic()
        command = [sys.executable, "-m", "gs3d", *words, *SETTINGS]
        with (folder / f"{name}.txt").open("a") as log:
            subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=True)
        done.write_text(f"{time.monotonic() - began:.1f}")
    return float(done.read_text())


def true_splats(prompt: str) -> Splats:
    """Ideal splats of true objects of a prompt, none of those that a grade compares with."""
    meaning = parse_prompt(prompt)
    assert isinstance(meaning, Meaning)
    return reference_splats(reference_objects(meaning, COMPARED + 1)[COMPARED].parts)


def make(args: Args, graders: Graders, prompts: Sequence[str], number: int) -> list[Result]:
    """Make what is not there yet of a prompt, and grade it."""
    prompt, other = prompts[number], prompts[number - len(prompts) // 2]
    folder = args.out / slug(prompt)
    (folder / "composed").mkdir(parents=True, exist_ok=True)
    whole = str(round((2 + TOGETHER) * args.steps))
    once = timed(
        folder, "one-run", "generate", prompt, "--steps", whole, "--out", "one-run", "--resume"
    )
    words = ("compose", prompt, "--steps", str(args.steps), "-o", f"composed/{SPLATS}")
    composed = timed(folder, "composed", *words)
    (placed,) = folder.glob("outputs/*/scene/placed.ply")
    # All at the size of an object: a scene is larger.
    found = {
        "composed": (load_splats(folder / "composed" / SPLATS), composed),
        "apart": (load_splats(placed), NOT_TIMED),
        "one run": (load_splats(folder / "one-run" / SPLATS), once),
        "true objects": (true_splats(prompt), NOT_TIMED),
        "other true objects": (true_splats(other), NOT_TIMED),
    }
    results = []
    for way, (splats, seconds) in found.items():
        place = f"{slug(prompt)}/graded/{slug(way)}"
        (args.out / place).mkdir(parents=True, exist_ok=True)
        save_splats(args.out / place / SPLATS, fitted(centered(splats), RADIUS))
        run = Run(place, prompt, way, 0, "finished", seconds, None)
        results.append(result_of(graders, args.out, run))
    kinds = "; ".join(f"{r.method} {r.grade.kind_right:.0%}" for r in results)
    print(f"{prompt}: kinds {kinds}", flush=True)
    return results


def main(args: Args) -> None:
    torch.set_num_threads(1)
    prompts = tuple(read_prompts("two-objects").meanings)
    graders = Graders.of(prompts, BUILTIN)
    chosen = range(min(args.limit, len(prompts)))
    with ThreadPoolExecutor(args.at_once) as pool:
        made = list(pool.map(partial(make, args, graders, prompts), chosen))
    results = [result for way in zip(*made, strict=True) for result in way]
    tree = {"steps": args.steps, "commit": commit(), "graders": graders.digest}
    tree["results"] = to_json(results)
    (args.out / "results.json").write_text(
        json.dumps(tree).replace('}, {"method"', '},\n{"method"')
    )
    shown = tables(results)
    print(markdown({title: shown[title] for title in ("Methods", "Differences")}))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
