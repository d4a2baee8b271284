"""Evaluations: prompts × methods × seeds, each run graded; or existing runs graded.

An evaluation can be stopped at any time. Repeating it continues with the runs that are missing.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.evaluation.clip import knows_the_world_alone
from gs3d.evaluation.grade import check_words
from gs3d.evaluation.prompts import read_prompts
from gs3d.evaluation.report import COLUMNS, MIN_PROMPTS, Result, markdown
from gs3d.evaluation.results import (
    Graders,
    Run,
    all_tables,
    graded_already,
    pooled_of,
    read_results,
    result_of,
    write_pictures,
    write_results,
)
from gs3d.experiments.names import method_names
from gs3d.experiments.request import (
    Evaluation,
    Say,
    check_evaluations,
    check_method,
    methods_of,
    setup_of,
)
from gs3d.experiments.setup import Setup
from gs3d.experiments.sweep import (
    FinishedRun,
    Job,
    copy_of,
    finished_before,
    holds_another_run,
    names_given,
    sweep,
)
from gs3d.runs.folders import make_writable
from gs3d.runs.history import read_record
from gs3d.runs.lock import locked
from gs3d.runs.request import DEFAULT_MINUTES, check_budget
from gs3d.world.prompt_parser import parse_prompt

AsText = Callable[[dict[str, list[list[str]]]], str]
"""Makes text of the tables of `report.tables`."""
SHOWN = ("kind_right", "color_right", "r_precision", "residue", "chamfer")
"""Metrics in the line about each run."""


def generate_and_grade(request: Evaluation, say: Say, as_text: AsText = markdown) -> int:
    """Make the runs of an evaluation that are missing, and grade them all. `as_text` makes the text
    of the tables that are said at the end.

    Returns the number of runs that failed. Raises `UserError` for invalid arguments, or if no run
    left a result.
    """
    check_budget(request.minutes, request.steps)
    check_evaluations(request)
    if request.limit is not None and request.limit < 1:
        raise UserError(f"--limit: expected 1 or more, got {request.limit}")
    any_prompt = not knows_the_world_alone(request.scorer)
    prompts = read_prompts(str(request.prompts), open_prompts=any_prompt)
    setup, settings = setup_of(request, prompts.meanings, say)
    methods, seeds = methods_of(request, setup), dict.fromkeys(request.seeds)
    every = [Job(p, m, s) for p in prompts.meanings for m in methods for s in seeds]
    jobs = every[: request.limit]
    for method in methods:
        check_method(method, setup, request, tuple(prompts.meanings), say)
    graders = Graders.of(tuple(prompts.meanings), request.scorer)
    for meaning in filter(None, prompts.meanings.values()):
        check_words(meaning, graders.classifier)

    def grade(job: Job, run: FinishedRun) -> Result:
        return result_of(graders, setup.out, _run_of(job, run))

    make_writable(setup.out)
    with locked(setup.out):
        known = read_results(setup.out, settings, graders)
        done: dict[Job, Result] = {}
        for job in jobs:
            if run := finished_before(job, setup):
                done[job] = graded_already(known, _run_of(job, run)) or grade(job, run)
        todo = [job for job in jobs if job not in done]
        if prompts.repeated:
            say(f"repeated prompts left out: {prompts.repeated}")
        there = f", {len(done)} are there" if done else ""
        say(f"runs to make: {len(todo)} of {len(every)}{there}{_estimate(request, len(todo))}")
        if replaced := sum(holds_another_run(job, setup) for job in todo):
            say(
                f"{replaced} of them are there with other settings or other code of the loss, and "
                "are replaced; --out FOLDER would keep both"
            )
        failed = 0
        for job, result in sweep(todo, setup, grade):
            what = f"{job.prompt}, {job.method.name}, seed {job.seed}"
            if result is None:
                failed += 1
                say(f"failed: {what}: {_reason(job, setup)}")
                continue
            done[job] = result
            results = [done[j] for j in jobs if j in done]
            write_results(setup.out, settings, graders, results, failed)
            early = "" if result.outcome == "finished" else f"{result.outcome}, "
            say(f"{len(done)}/{len(jobs)}  {what}: {early}{_metrics_line(result)}")
        results = [done[job] for job in jobs if job in done]
        if not results:
            raise UserError("no run left anything; see the run.log of each")
        _write_report(setup.out, settings, graders, results, failed, say, as_text)
    for method in dict.fromkeys(job.method.name for job in jobs):
        if all(job not in done for job in jobs if job.method.name == method):
            say(f"{method}: has no row in the tables, because none of its runs left anything")
    if failed:
        say(f"{failed} runs left nothing; they are in none of the means")
    return failed


def grade_existing(request: Evaluation, say: Say, as_text: AsText = markdown) -> None:
    """Grade the runs in `request.runs`. `UserError` if none of them can be graded."""
    out = request.out or Path("outputs") / "evaluation"
    settings = {"runs": "made before", "scorer": request.scorer}
    runs = _gradable(request, say)
    records = [record for _, record in runs]
    prompts = tuple(dict.fromkeys(record["prompt"] for record in records))
    graders = Graders.of(prompts, request.scorer)
    results: list[Result] = []
    make_writable(out)
    with locked(out):
        known = read_results(out, settings, graders)
        names = names_given([folder for folder, _ in runs]) or method_names(records)
        for (folder, record), method in zip(runs, names, strict=True):
            run = _recorded_run(os.path.relpath(folder, out), record, method)
            try:
                results.append(graded_already(known, run) or result_of(graders, out, run))
            except UserError as error:
                say(f"{folder}: left out; {error.for_command_line}")
                continue
            write_results(out, settings, graders, results)
            say(f"{folder}: {method}: {_metrics_line(results[-1])}")
        if not results:
            raise UserError("--from: none of these runs can be graded")
        _write_report(out, settings, graders, results, 0, say, as_text)


def _gradable(request: Evaluation, say: Say) -> list[tuple[Path, dict]]:
    """The folders that hold a finished run with a prompt that can be graded, with its record."""
    runs = []
    for folder in dict.fromkeys(Path(os.path.normpath(f)) for f in request.runs):
        record = read_record(folder)
        if record is None:
            needs = "run.yaml, and splats.ply or mesh.glb"
            say(f"{folder}: left out; it is not the folder of a finished run ({needs})")
        elif knows_the_world_alone(request.scorer) and parse_prompt(record["prompt"]) is None:
            say(
                f"{folder}: left out; the world has no reference for {record['prompt']!r}, "
                "and there is no --scorer for other prompts"
            )
        else:
            runs.append((folder, record))
    if not runs:
        raise UserError(
            "--from: none of these folders holds a run that can be graded; "
            "expected folders that gs3d generate wrote"
        )
    return runs


def _run_of(job: Job, run: FinishedRun) -> Run:
    result = (run.outcome, run.seconds, run.memory_mb, run.evaluations_per_s)
    return Run(job.folder, run.prompt, run.method, run.seed, *result)


def _recorded_run(folder: str, record: dict, method: str) -> Run:
    ended = record["result"]
    seconds = round(sum(record["timings_s"].values()), 2)
    memory = ended.get("peak_memory_mb")
    seed, outcome = record["seed"], ended["outcome"]
    return Run(folder, record["prompt"], method, seed, outcome, seconds, memory)


def _metrics_line(result: Result) -> str:
    values = {name: getattr(result.grade, name) for name in SHOWN}
    return "  ".join(
        f"{COLUMNS[k].title} {COLUMNS[k].scale * v:.{COLUMNS[k].digits}f}"
        for k, v in values.items()
        if v is not None
    )


def _reason(job: Job, setup: Setup) -> str:
    """The last line of the log of a failed run, which names the reason, and where the log is. A
    loss of the user's own is named by its own file, not by the copy that the run has read."""
    log = setup.out / job.folder / "run.log"
    lines = log.read_text("utf-8", "replace").split("\n") if log.exists() else []
    reason = next((line.strip() for line in reversed(lines) if line.strip()), "no word")
    if job.method.file is not None:
        copy = str(copy_of(job.method.file, setup.out))
        reason = reason.replace(copy, str(job.method.file.path))
    return f"{reason} ({log})"


def _estimate(request: Evaluation, runs: int) -> str:
    if request.steps is not None or request.evaluations is not None or not runs:
        return ""
    minutes = (request.minutes or DEFAULT_MINUTES) * runs / request.at_once
    if minutes >= 90:
        return f", about {minutes / 60:.1f} hours"
    return f", about {minutes:.0f} minutes" if minutes >= 2 else ", about a minute or two"


def _write_report(
    out: Path,
    settings: dict,
    graders: Graders,
    results: Sequence[Result],
    failed: int,
    say: Say,
    as_text: AsText,
) -> None:
    pooled = pooled_of(out, results, graders)
    write_results(out, settings, graders, results, failed, pooled)
    shown = all_tables(results, pooled)
    say("\n" + as_text(shown) + "\n")
    for path in write_pictures(out, settings, results, shown):
        say(f"  {path}")
    prompts = {result.prompt for result in results}
    if len({result.method for result in results}) > 1 and len(prompts) < MIN_PROMPTS:
        say(
            f"prompts: {len(prompts)}. Below {MIN_PROMPTS} there are no intervals, and no order of "
            "methods can be concluded"
        )
