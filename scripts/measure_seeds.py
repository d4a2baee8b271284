"""Measure which score tells early which of several seeds will be best.

`python scripts/measure_seeds.py tuning --prior builtin-512 --config preview --steps 600`

For each prompt, four objects are optimized by turns to the end, and none is given up. At a quarter
and at a half of the run each gets the parts of the scores of `runs.choice.score` at two noise
levels, and at the end its grades. The table says, for each score, how much better than the mean of
the four the one is that `--seeds 4` would have kept with it, and how much the best of them is.

Each prompt is a line of the output file, with the settings. Prompts that are there are not made
again.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import tyro

from gs3d.distill.budget import Budget
from gs3d.distill.state import Task
from gs3d.distill.step import iterate, micro_batch_of
from gs3d.evaluation.classifier import Classifier
from gs3d.evaluation.grade import grade
from gs3d.evaluation.prompts import read_prompts
from gs3d.evaluation.reference import reference_for
from gs3d.priors.base import Prior
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs.callbacks import Callbacks
from gs3d.runs.choice.score import gains_of
from gs3d.runs.loop import start
from gs3d.runs.outputs.files import drawable
from gs3d.runs.prepare import prepare
from gs3d.runs.request import Request
from gs3d.runs.setup import load_prior, load_task
from gs3d.world.captions import Meaning

SEEDS = 4
MOMENTS = (0.25, 0.5)
TIMES = (0.35, 0.6)
GRADES = ("chamfer", "normal_deg", "kind_right", "color_right", "pattern_right", "janus")
SCORES: dict[str, Callable[[dict[str, Any]], float]] = {
    f"{name} {t}": lambda gains, i=i, t=t: gains[str(t)][i] if i is not None else sum(gains[str(t)])
    for t in TIMES
    for name, i in (("prompt", 0), ("view", 1), ("sum", None))
}
"""Score -> its value from the gains of an object at one moment."""


@dataclass(frozen=True)
class Args:
    prompts: Annotated[str, tyro.conf.Positional]
    """A list shipped with gs3d, or a file."""
    prior: str = "builtin"
    config: str | None = None
    steps: int = 640
    """Iterations of the four objects together."""
    limit: int | None = None
    """Number of prompts, from the first."""
    out: Path = Path("outputs/seeds.jsonl")


def main(args: Args) -> None:
    meanings = list(read_prompts(args.prompts).meanings.items())[: args.limit]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = args.out.read_text("utf-8").splitlines() if args.out.exists() else []
    settings = {"prior": args.prior, "config": args.config, "steps": args.steps}
    there = [row for row in map(json.loads, lines) if row["settings"] == settings]
    rows = {row["prompt"]: row["objects"] for row in there}
    prior: Prior | None = None
    for prompt, meaning in meanings:
        if prompt in rows or meaning is None:
            continue
        request = Request(prompt, steps=args.steps, prior=args.prior, config=args.config)
        plan = prepare(request)
        prior = prior or load_prior(plan)
        task = load_task(replace(plan, prior=prior), Callbacks(), load_prior)
        rows[prompt] = objects_of(task, args, meaning)
        with open(args.out, "a", encoding="utf-8") as file:
            line = {"prompt": prompt, "settings": settings, "objects": rows[prompt]}
            file.write(json.dumps(line) + "\n")
        print(prompt, [round(o["grade"]["chamfer"] or 1, 3) for o in rows[prompt]], flush=True)
    report([rows[prompt] for prompt, _ in meanings if prompt in rows])


def objects_of(task: Task, args: Args, meaning: Meaning) -> list[dict[str, Any]]:
    """The scores and grades of the objects of a prompt."""
    state = start(task.config, 0, "cpu", particles=SEEDS)
    found: list[dict[str, Any]] = [{} for _ in range(SEEDS)]
    budget, due = Budget(args.steps), list(MOMENTS)
    budget.begin()
    while (progress := budget.progress(state.step)) < 1.0:
        if due and progress >= due[0]:
            rows = micro_batch_of(state, task)
            for own, particle in zip(found, state.particles, strict=True):
                at = (particle.representation, task, progress, rows)
                own[str(due[0])] = {str(t): gains_of(*at, t) for t in TIMES}
            del due[0]
        share = budget.share(progress, state.particles[state.turn].progress, SEEDS)
        iterate(state, task, progress, share)
    classifier, reference = Classifier.load(), reference_for(meaning)
    for own, particle in zip(found, state.particles, strict=True):
        assert isinstance(particle.representation, Gaussians)
        splats = drawable(particle.representation.splats())[0]
        grades = grade(splats, meaning, classifier, reference)
        own["grade"] = {name: getattr(grades, name) for name in GRADES}
    return found


def kept(objects: list[dict[str, Any]], score: Callable[[dict[str, Any]], float]) -> int:
    """Which of four objects goes on after both rounds."""
    first, second = (str(moment) for moment in MOMENTS)
    ordered = sorted(range(SEEDS), key=lambda i: -score(objects[i][first]))
    return max(ordered[: SEEDS // 2], key=lambda i: score(objects[i][second]))


def report(rows: list[list[dict[str, Any]]]) -> None:
    """Print how much each score gains in each grade, and how often it keeps the best object."""
    names = [name for name in GRADES if any(o["grade"][name] is not None for r in rows for o in r)]
    print(f"\n{len(rows)} prompts; kept minus the mean of {SEEDS}")
    print("score        best by chamfer  " + "  ".join(f"{name:>13}" for name in names))
    nearest = [min(range(SEEDS), key=lambda i: r[i]["grade"]["chamfer"] or 9) for r in rows]
    chosen = {name: [kept(r, score) for r in rows] for name, score in SCORES.items()}
    for label, picks in (chosen | {"the best": nearest}).items():
        hits = sum(a == b for a, b in zip(picks, nearest, strict=True))
        cells = []
        for name in names:
            gains = [
                r[i]["grade"][name] - mean(o["grade"][name] for o in r)
                for r, i in zip(rows, picks, strict=True)
                if all(o["grade"][name] is not None for o in r)
            ]
            cells.append(f"{mean(gains):+13.4f}" if gains else f"{'':>13}")
        print(f"{label:12} {hits:>6} of {len(rows):<6}  " + "  ".join(cells))


if __name__ == "__main__":
    main(tyro.cli(Args))
