"""`gs3d evaluate PROMPTS`: prompts × methods × seeds, each run graded; tables, JSON and a report."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.core.errors import UserError


@dataclass(frozen=True)
class Args:
    """Make objects from a list of prompts with each method, mark them against what the world says they should be, and leave
    evaluation.json, report.html and sheet.png. Stop it at any time: the same command goes on with what is not done yet."""

    prompts: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPTS")] = None
    """A file with a prompt a line, or a list that comes with gs3d: tuning, reporting, plain."""
    runs: Annotated[tuple[Path, ...], tyro.conf.arg(name="from")] = ()
    """Folders of runs that are there already: grade these instead of making new ones."""
    methods: tuple[str, ...] = ("cds", "sds")
    """Losses to compare, each with settings of its own if need be: cds,fixed_noise=true,cfg.start=12"""
    seeds: tuple[int, ...] = (0,)
    """Each prompt is made with each."""
    minutes: float | None = None
    """Wall clock of each run. 3 when neither this nor --steps is given."""
    steps: int | None = None
    """Iterations of each run, instead of minutes."""
    scorer: str | None = None
    """A CLIP model, as a hub id (openai/clip-vit-large-patch14) or a folder: R-precision over 120 views, for prompts of any kind."""
    prior: str = "builtin"
    """As for gs3d generate."""
    config: str | None = None
    """A preset or a YAML file that all methods begin from."""
    out: Path | None = None
    """Folder for the results; outputs/evaluation-PROMPTS when not given."""
    at_once: int = 1
    """Runs made side by side, each held to its own equal share of the cores: the marks are those of a smaller machine."""
    limit: int | None = None
    """Only the first so many runs. All methods and seeds of one prompt come before the next prompt."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d evaluate", argv)
    for flag, values in (("--methods", args.methods), ("--seeds", args.seeds)):
        if not values:
            raise UserError(f"{flag}: expected one or more, got nothing")
    if args.runs and args.prompts:
        raise UserError("PROMPTS and --from: give one of them; --from grades the prompts of the runs")
    if not args.runs and not args.prompts:
        raise UserError("PROMPTS: expected a file of prompts, or tuning, reporting or plain; see gs3d evaluate --help")
    return _grade_existing(args) if args.runs else _make_and_grade(args)


def _make_and_grade(args: Args) -> int:
    from gs3d.evaluation.grade import check_words
    from gs3d.evaluation.prompts import read_prompts
    from gs3d.evaluation.recogniser import Recogniser
    from gs3d.evaluation.results import Graders, read_results, result_of, write_results
    from gs3d.training.request import check_budget
    from gs3d.training.sweep import Job, Method, Setup, check_jobs, shares, sweep

    check_budget(args.minutes, args.steps)
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit: expected 1 or more, got {args.limit}")
    prompts, judge = read_prompts(args.prompts, open_prompts=args.scorer is not None), Recogniser.load()
    for meaning in filter(None, prompts.meanings.values()):
        check_words(meaning, judge)
    methods = list(dict.fromkeys(Method.parse(text) for text in args.methods))
    jobs = [Job(p, m, s) for p in prompts.meanings for m in methods for s in dict.fromkeys(args.seeds)]
    whole, jobs = len(jobs), jobs[: args.limit]
    check_jobs(jobs)
    minutes = args.minutes or 3.0
    budget = ("--steps", str(args.steps)) if args.steps is not None else ("--minutes", f"{minutes:g}")
    base = args.config or _preset(args.prior, args.steps, minutes)
    for method in methods:
        method.settings(base)  # a misspelt place should not wait for the runs before it
    out = args.out or Path("outputs") / f"evaluation-{Path(args.prompts).stem}"
    setup = Setup(out, budget, base, args.prior, args.at_once)
    settings = {
        "budget": " ".join(budget),
        "prior": args.prior,
        "config": base,
        "cores": len(shares(args.at_once)[0]),
        "scorer": args.scorer,
    }
    done = read_results(out, settings)
    graders = Graders.of(tuple(prompts.meanings), judge, args.scorer)
    todo = [job for job in jobs if job.folder not in done]
    if prompts.repeated:
        say(f"repeated prompts left out: {prompts.repeated}")
    hours = f", about {minutes * len(todo) / args.at_once / 60:.1f} hours" if args.steps is None and todo else ""
    say(f"runs to make: {len(todo)} of {whole}{f', {len(jobs) - len(todo)} are there' if len(jobs) > len(todo) else ''}{hours}")
    failed, results = 0, []
    try:
        for job, made in sweep(todo, setup):
            if made is None:
                failed += 1
                say(f"failed: {job.prompt}, {job.method.name}, seed {job.seed}; see {out / job.folder / 'run.log'}")
                continue
            result = result_of(graders, out, job.folder, job.prompt, job.method.name, job.seed, made.seconds, made.memory_mb)
            done[job.folder] = result
            write_results(out, settings, list(done.values()))
            say(f"{len(done)}/{len(jobs)}  {job.prompt}, {job.method.name}, seed {job.seed}: {_said(result)}")
    finally:
        results = [done[job.folder] for job in jobs if job.folder in done]
        _report(out, settings, results)
    if not results:
        raise UserError("no run left splats; see the run.log of each")
    return 1 if failed else 0


def _preset(prior: str, steps: int | None, minutes: float) -> str:
    from gs3d.priors.components import read_index
    from gs3d.priors.resolve import resolve
    from gs3d.training.run import preset_for

    return preset_for("vae" not in read_index(resolve(prior).folder), None if steps is not None else minutes)


def _grade_existing(args: Args) -> int:
    from gs3d.evaluation.recogniser import Recogniser
    from gs3d.evaluation.results import Graders, result_of, write_results
    from gs3d.world.understand import understand

    out, runs = args.out or Path("outputs") / "evaluation", []
    for folder, record in _runs(args.runs):
        if args.scorer is None and understand(record["prompt"]) is None:
            say(f"{folder}: left out; the world has no picture of {record['prompt']!r}, and there is no --scorer for other prompts")
        else:
            runs.append((folder, record))
    if not runs:
        raise UserError("--from: none of these folders holds a run that can be graded; expected folders that gs3d generate has left")
    prompts = tuple(dict.fromkeys(record["prompt"] for _, record in runs))
    graders, settings, results = Graders.of(prompts, Recogniser.load(), args.scorer), {"scorer": args.scorer}, []
    for folder, record in runs:
        seconds, method = sum(record["timings_s"].values()), record["config"]["guidance"]
        results.append(result_of(graders, out, os.path.relpath(folder, out), record["prompt"], method, record["seed"], seconds))
        say(f"{folder}: {_said(results[-1])}")
    write_results(out, settings, results)
    _report(out, settings, results)
    return 0


def _runs(folders: Sequence[Path]) -> Iterator[tuple[Path, dict]]:
    """Those of `folders` that hold a finished run, and what its run.yaml says."""
    import yaml

    for folder in folders:
        try:
            record = yaml.safe_load((folder / "run.yaml").read_text("utf-8"))
            usable = isinstance(record, dict) and {"prompt", "seed", "config", "timings_s"} <= record.keys()
        except (OSError, ValueError, yaml.YAMLError):
            usable = False
        if usable and (folder / "splats.ply").is_file():
            yield folder, record
        else:
            say(f"{folder}: left out; it is not the folder of a finished run (run.yaml and splats.ply)")


def _said(result) -> str:
    from gs3d.evaluation.report import COLUMNS

    marks = {mark: getattr(result.grade, mark) for mark in ("kind_right", "colour_right", "r_precision", "haze", "chamfer")}
    return "  ".join(f"{COLUMNS[k].title} {COLUMNS[k].scale * v:.{COLUMNS[k].digits}f}" for k, v in marks.items() if v is not None)


def _report(out: Path, settings: dict, results: Sequence) -> None:
    if not results:
        return
    from gs3d.evaluation.report import markdown
    from gs3d.evaluation.results import write_pictures

    written = write_pictures(out, settings, results)
    say("\n" + markdown(results) + "\n")
    for path in written:
        say(f"  {path}")
