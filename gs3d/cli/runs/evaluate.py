"""`gs3d evaluate PROMPTS`: prompts × methods × seeds, each run graded; tables, JSON and a report."""

import contextlib
import os
import signal
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
    """A file with a prompt a line, or a list that comes with gs3d: tuning, reporting, ablation, plain."""
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
    """A CLIP model, for R-precision over 120 views: builtin, which knows the world alone, or, for prompts of any kind, a hub id
    (openai/clip-vit-large-patch14) or a folder."""
    prior: str = "builtin"
    """As for gs3d generate."""
    config: str | None = None
    """A preset or a YAML file that all methods begin from."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the results; outputs/evaluation-PROMPTS when not given."""
    at_once: int = 1
    """Runs made side by side, each held to its own equal share of the cores: the marks are those of a smaller machine."""
    limit: int | None = None
    """Only the first so many runs. All methods and seeds of one prompt come before the next prompt."""


NEW_RUNS_ONLY = ("methods", "seeds", "minutes", "steps", "prior", "config", "at_once", "limit")
"""Flags that say how runs are made."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d evaluate", argv)
    for flag, values in (("--methods", args.methods), ("--seeds", args.seeds)):
        if not values:
            raise UserError(f"{flag}: expected one or more, got nothing")
    if args.runs and args.prompts:
        raise UserError(
            "PROMPTS and --from: give one of them; --from grades the prompts of the runs"
        )
    if args.runs:
        useless = next((f for f in NEW_RUNS_ONLY if getattr(args, f) != getattr(Args, f)), None)
        if useless:
            raise UserError(
                f"--{useless.replace('_', '-')}: says how runs are made, and --from grades runs that are there; leave one out"
            )
        return _grade_existing(args)
    if not args.prompts:
        raise UserError(
            "PROMPTS: expected, before any option, a file of prompts, or tuning, reporting or plain; see gs3d evaluate --help"
        )
    return _make_and_grade(args)


def _make_and_grade(args: Args) -> int:
    from gs3d.evaluation.clip import knows_the_world_alone
    from gs3d.evaluation.grade import check_words
    from gs3d.evaluation.prompts import read_prompts
    from gs3d.evaluation.results import (
        Graders,
        Run,
        graded_already,
        read_results,
        result_of,
        write_results,
    )
    from gs3d.experiments.methods import Method
    from gs3d.experiments.sweep import FinishedRun, Job, Setup, finished_before, shares, sweep
    from gs3d.runs.generate import preset_for
    from gs3d.runs.lock import locked
    from gs3d.runs.request import check_budget, make_writable

    check_budget(args.minutes, args.steps)
    if args.limit is not None and args.limit < 1:
        raise UserError(f"--limit: expected 1 or more, got {args.limit}")
    prompts = read_prompts(args.prompts, open_prompts=not knows_the_world_alone(args.scorer))
    methods = list(dict.fromkeys(Method.parse(text) for text in args.methods))
    jobs = [
        Job(p, m, s) for p in prompts.meanings for m in methods for s in dict.fromkeys(args.seeds)
    ]
    whole, jobs = len(jobs), jobs[: args.limit]
    minutes = args.minutes or 3.0
    budget = (
        ("--steps", str(args.steps)) if args.steps is not None else ("--minutes", f"{minutes:g}")
    )
    prior, pixel, weights = _prior(args.prior)
    base = args.config or preset_for(pixel, None if args.steps is not None else minutes)
    out = args.out or Path("outputs") / f"evaluation-{Path(args.prompts).stem}"
    setup = Setup(out, budget, base, prior, weights, args.at_once)
    settings = {
        "budget": " ".join(budget),
        "prior": prior,
        "config": base,
        "cores": len(shares(args.at_once)[0]),
        "scorer": args.scorer,
    }
    for method in methods:
        setup.fingerprint(method)  # a misspelt place should not wait for the runs before it
    graders = Graders.of(tuple(prompts.meanings), args.scorer)
    for meaning in filter(None, prompts.meanings.values()):
        check_words(meaning, graders.classifier)

    def graded(job: Job, made: FinishedRun):
        return result_of(graders, out, run_of(job, made))

    def run_of(job: Job, made: FinishedRun) -> Run:
        return Run(
            job.folder,
            made.prompt,
            made.method,
            made.seed,
            made.outcome,
            made.seconds,
            made.memory_mb,
        )

    make_writable(out)
    with locked(out), _terminated_as_interrupted():
        known, made = (
            read_results(out, settings, graders),
            {job: finished_before(job, setup) for job in jobs},
        )
        done = {
            job: graded_already(known, run_of(job, m)) or graded(job, m)
            for job, m in made.items()
            if m
        }
        todo = [job for job in jobs if job not in done]
        if prompts.repeated:
            say(f"repeated prompts left out: {prompts.repeated}")
        hours = (
            f", about {_long(minutes * len(todo) / args.at_once)}"
            if args.steps is None and todo
            else ""
        )
        say(
            f"runs to make: {len(todo)} of {whole}{f', {len(done)} are there' if done else ''}{hours}"
        )
        failed = 0
        for job, result in sweep(todo, setup, graded):
            what = f"{job.prompt}, {job.method.name}, seed {job.seed}"
            if result is None:
                failed += 1
                say(f"failed: {what}: {_last_words(out / job.folder / 'run.log')}")
                continue
            done[job] = result
            write_results(out, settings, graders, [done[j] for j in jobs if j in done], failed)
            early = "" if result.outcome == "finished" else f"{result.outcome}, "
            say(f"{len(done)}/{len(jobs)}  {what}: {early}{_said(result)}")
        results = [done[job] for job in jobs if job in done]
        if not results:
            raise UserError("no run left anything; see the run.log of each")
        write_results(out, settings, graders, results, failed)
        _report(out, settings, results)
    if failed:
        say(f"{failed} runs left nothing; they are in none of the means")
    return 1 if failed else 0


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM as Ctrl-C, so that no run is left behind without a parent."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _prior(name: str) -> tuple[str, bool, str]:
    """(name, whether it works on pixels, sizes and dates of its weights' files)."""
    import torch

    from gs3d.priors.loading.components import backbone_part, facts_of, read_index, weight_files
    from gs3d.priors.loading.resolve import default_prior, resolve

    if name == "auto":
        name, why = default_prior("cuda" if torch.cuda.is_available() else "cpu")
        say(why)
    folder = resolve(name).folder
    index = read_index(folder)
    return (
        name,
        "vae" not in index,
        repr(facts_of(weight_files(folder / backbone_part(index), half=True))),
    )


def _grade_existing(args: Args) -> int:
    from gs3d.evaluation.clip import knows_the_world_alone
    from gs3d.evaluation.results import (
        Graders,
        Run,
        graded_already,
        read_results,
        result_of,
        write_results,
    )
    from gs3d.runs.history import method_names, read_record
    from gs3d.runs.lock import locked
    from gs3d.runs.request import make_writable
    from gs3d.world.prompt_parser import parse_prompt

    out, settings, runs = (
        args.out or Path("outputs") / "evaluation",
        {"runs": "made before", "scorer": args.scorer},
        [],
    )
    for folder in dict.fromkeys(Path(os.path.normpath(f)) for f in args.runs):
        record = read_record(folder)
        if record is None:
            say(
                f"{folder}: left out; it is not the folder of a finished run (run.yaml, and splats.ply or mesh.glb)"
            )
        elif knows_the_world_alone(args.scorer) and parse_prompt(record["prompt"]) is None:
            say(
                f"{folder}: left out; the world has no picture of {record['prompt']!r}, and there is no --scorer for other prompts"
            )
        else:
            runs.append((folder, record))
    if not runs:
        raise UserError(
            "--from: none of these folders holds a run that can be graded; expected folders that gs3d generate has left"
        )
    graders, results = (
        Graders.of(tuple(dict.fromkeys(record["prompt"] for _, record in runs)), args.scorer),
        [],
    )
    make_writable(out)
    with locked(out):
        known = read_results(out, settings, graders)
        for (folder, record), method in zip(
            runs, method_names([record for _, record in runs]), strict=True
        ):
            ended = record["result"]
            seconds, memory = (
                round(sum(record["timings_s"].values()), 2),
                ended.get("peak_memory_mb"),
            )
            one = Run(
                os.path.relpath(folder, out),
                record["prompt"],
                method,
                record["seed"],
                ended["outcome"],
                seconds,
                memory,
            )
            try:
                results.append(graded_already(known, one) or result_of(graders, out, one))
            except UserError as error:
                say(f"{folder}: left out; {error}")
                continue
            write_results(out, settings, graders, results)
            say(f"{folder}: {method}: {_said(results[-1])}")
        if not results:
            raise UserError("--from: none of these runs can be graded")
        _report(out, settings, results)
    return 0


def _said(result) -> str:
    from gs3d.evaluation.report import COLUMNS

    marks = {
        mark: getattr(result.grade, mark)
        for mark in ("kind_right", "color_right", "r_precision", "residue", "chamfer")
    }
    return "  ".join(
        f"{COLUMNS[k].title} {COLUMNS[k].scale * v:.{COLUMNS[k].digits}f}"
        for k, v in marks.items()
        if v is not None
    )


def _last_words(log: Path) -> str:
    """The last line of a run that left nothing, which is why, and where the others are."""
    lines = log.read_text("utf-8", "replace").split("\n") if log.exists() else []
    return f"{next((line.strip() for line in reversed(lines) if line.strip()), 'no word')} ({log})"


def _long(minutes: float) -> str:
    return (
        f"{minutes / 60:.1f} hours"
        if minutes >= 90
        else f"{minutes:.0f} minutes"
        if minutes >= 2
        else "a minute or two"
    )


def _report(out: Path, settings: dict, results: Sequence) -> None:
    from gs3d.evaluation.report import markdown
    from gs3d.evaluation.results import write_pictures

    say("\n" + markdown(results) + "\n")
    for path in write_pictures(out, settings, results):
        say(f"  {path}")
