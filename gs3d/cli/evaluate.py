"""`gs3d evaluate PROMPTS`: prompts × methods × seeds, each run graded; tables, JSON and a report."""

import json
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
    """A file with a prompt a line, or a list that comes with gs3d: tuning, reporting."""
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
        raise UserError("PROMPTS: expected a file of prompts, or tuning or reporting; see gs3d evaluate --help")
    from gs3d.evaluation.recogniser import Recogniser

    judge = Recogniser.load()
    return _grade_existing(args, judge) if args.runs else _make_and_grade(args, judge)


def _make_and_grade(args: Args, judge) -> int:
    from gs3d.evaluation.grade import check_words
    from gs3d.evaluation.prompts import read_prompts
    from gs3d.training.request import check_budget
    from gs3d.training.sweep import Job, Method, Setup, check_jobs, shares, sweep

    check_budget(args.minutes, args.steps)
    prompts = read_prompts(args.prompts)
    for meaning in prompts.meanings.values():
        check_words(meaning, judge)
    methods = list(dict.fromkeys(Method.parse(text) for text in args.methods))
    seeds = list(dict.fromkeys(args.seeds))
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit: expected 1 or more, got {args.limit}")
    jobs = [Job(p, m, s) for p in prompts.meanings for m in methods for s in seeds][: args.limit]
    check_jobs(jobs)
    minutes = args.minutes or 3.0
    budget = ("--steps", str(args.steps)) if args.steps is not None else ("--minutes", f"{minutes:g}")
    base = args.config or _preset(args.prior, args.steps, minutes)
    out = args.out or Path("outputs") / f"evaluation-{Path(args.prompts).stem}"
    setup = Setup(out, budget, base, args.prior, args.at_once)
    each = shares(args.at_once)[0]
    for method in methods:
        method.settings(base)  # a misspelt place should not wait for the runs before it
    settings = {"budget": " ".join(budget), "prior": args.prior, "config": base, "cores": len(each)}
    path = out / "evaluation.json"
    done = {folder: result for folder, result in _read(path, settings).items() if _file(out, folder).exists()}
    todo = [job for job in jobs if job.folder not in done]
    _announce(prompts, methods, seeds, jobs, len(jobs) - len(todo), minutes if args.steps is None else None, args.at_once)
    failed = 0
    try:
        for job, made in sweep(todo, setup):
            if made is None:
                failed += 1
                say(f"failed: {job.prompt}, {job.method.name}, seed {job.seed}; see {out / job.folder / 'run.log'}")
                continue
            result = _graded(out, job.folder, job.prompt, job.method.name, job.seed, made.seconds, made.memory_mb, judge)
            done[job.folder] = result
            _write(path, settings, done)
            say(f"{len(done)}/{len(jobs)}  {job.prompt}, {job.method.name}, seed {job.seed}: {_said(result)}")
    finally:
        results = [done[job.folder] for job in jobs if job.folder in done]
        if results:
            _report(out, results, settings)
    if not results:
        raise UserError("no run left splats; see the run.log of each")
    return 1 if failed else 0


def _preset(prior: str, steps: int | None, minutes: float) -> str:
    from gs3d.priors.components import read_index
    from gs3d.priors.resolve import resolve
    from gs3d.training.run import preset_for

    return preset_for("vae" not in read_index(resolve(prior).folder), None if steps is not None else minutes)


def _announce(prompts, methods: Sequence, seeds: Sequence[int], jobs: Sequence, there: int, minutes: float | None, at_once: int) -> None:
    if prompts.repeated:
        say(f"{prompts.repeated} prompts stand in the list more than once; each is made once")
    count = f"{len(prompts.meanings)} prompts × {len(methods)} methods × {len(seeds)} seeds"
    hours = f", about {minutes * (len(jobs) - there) / at_once / 60:.1f} hours" if minutes is not None else ""
    limited = "" if len(jobs) == len(prompts.meanings) * len(methods) * len(seeds) else f", the first {len(jobs)} of them"
    say(f"{count}{limited}: {len(jobs) - there} runs to make{f', {there} are there' if there else ''}{hours}")


def _grade_existing(args: Args, judge) -> int:
    from gs3d.evaluation.grade import check_words
    from gs3d.world.understand import understand

    out = args.out or Path("outputs") / "evaluation"
    results = {}
    for folder, record in _runs(args.runs):
        name, meaning = os.path.relpath(folder, out), understand(record["prompt"])
        if meaning is None:
            say(f"{folder}: left out; the world has no picture of {record['prompt']!r}")
            continue
        check_words(meaning, judge)
        seconds = sum(record["timings_s"].values())
        results[name] = _graded(out, name, record["prompt"], record["config"]["guidance"], record["seed"], seconds, None, judge)
        say(f"{folder}: {_said(results[name])}")
    if not results:
        raise UserError("--from: none of these folders holds a run that can be graded; expected folders that gs3d generate has left")
    settings = {"from": [str(path) for path in args.runs]}
    _write(out / "evaluation.json", settings, results)
    _report(out, list(results.values()), settings)
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


def _graded(out: Path, folder: str, prompt: str, method: str, seed: int, seconds: float, memory_mb: float | None, judge):
    from gs3d.api import load
    from gs3d.evaluation.grade import grade
    from gs3d.evaluation.report import Result
    from gs3d.evaluation.truth import truth_of
    from gs3d.world.splits import split_of
    from gs3d.world.understand import understand

    meaning = understand(prompt)
    splats = load(_file(out, folder)).splats
    marks = grade(splats, meaning, judge, truth_of(meaning))
    split = split_of(meaning.thing)
    return Result(method, prompt, seed, meaning.thing.kind, split, folder, round(seconds, 2), memory_mb, len(splats), marks)


def _file(out: Path, folder: str) -> Path:
    """The splats of a run, whose folder may be named by a way out of `out` before there is one."""
    return Path(os.path.normpath(out / folder)) / "splats.ply"


def _said(result) -> str:
    from gs3d.evaluation.report import COLUMNS

    shown = {mark: getattr(result.grade, mark) for mark in ("kind_right", "colour_right", "haze", "chamfer")}
    return "  ".join(f"{COLUMNS[k].title} {COLUMNS[k].scale * v:.{COLUMNS[k].digits}f}" for k, v in shown.items() if v is not None)


def _read(path: Path, settings: dict) -> dict:
    """The results that are there, by the folder of their run."""
    from gs3d.evaluation.report import Result

    if not path.exists():
        return {}
    try:
        tree = json.loads(path.read_text("utf-8"))
        known, results = tree["settings"], {row["folder"]: Result.of(row) for row in tree["results"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is no evaluation of this version ({type(error).__name__}); choose another --out, or remove it") from None
    if known != settings:
        raise UserError(f"{path}: holds results with {known}, not {settings}; choose another --out")
    return results


def _write(path: Path, settings: dict, done: dict) -> None:
    from gs3d.evaluation.report import summary, to_json
    from gs3d.export.atomic import write_atomic

    methods = {r.method: [x for x in done.values() if x.method == r.method] for r in done.values()}
    tree = {"settings": settings, "summary": {m: summary(rows) for m, rows in methods.items()}, "results": to_json(list(done.values()))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, lambda t: t.write_text(json.dumps(tree, indent=1) + "\n", "utf-8"), lambda t: json.loads(t.read_text("utf-8")))


def _report(out: Path, results: Sequence, settings: dict) -> None:
    from gs3d.api import load
    from gs3d.evaluation.html import write_report
    from gs3d.evaluation.report import markdown, write_result_sheet

    def splats(result):
        return load(_file(out, result.folder)).splats

    write_report(out / "report.html", results, splats, settings)
    write_result_sheet(out / "sheet.png", results, splats)
    say("\n" + markdown(results) + "\n")
    for name in ("evaluation.json", "report.html", "sheet.png"):
        say(f"  {out / name}")
