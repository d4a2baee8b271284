"""Sweeps: many runs of `gs3d generate`, each in its own process, some of them in parallel.

Runs that an earlier sweep finished are not repeated, and of those that it began, runs with a number
of iterations go on from their checkpoints.
"""

import contextlib
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
import yaml

from gs3d.core.errors import UserError
from gs3d.experiments.methods import Method
from gs3d.experiments.setup import Setup, shares
from gs3d.guidance.loss_file import LossFile
from gs3d.io import result_file
from gs3d.runs.folders import make_writable, run_yaml, slug
from gs3d.runs.outputs.log import LOG, read_log

T = TypeVar("T")
STOPPED = ("interrupted", "terminated")
"""Outcomes of runs that were told to stop, and go on."""
GS3D = (sys.executable, "-m", "gs3d")
"""The command that makes a run."""
STARTED, FINISHED = "started.json", "finished.json"
"""Files in the folder of a run that say what it makes, and that it is finished."""


@dataclass(frozen=True)
class Job:
    """A run of a sweep: one prompt, method and seed."""

    prompt: str
    method: Method
    seed: int

    @property
    def folder(self) -> str:
        """Output directory, relative to that of the sweep."""
        return f"runs/{_folder_name(self.prompt)}/{_folder_name(self.method.name)}-s{self.seed}"


def _folder_name(text: str) -> str:
    """Return `slug(text)`, with digits of a hash unless the slug is the whole text."""
    name = slug(text)
    if name == text.lower().replace(" ", "-"):
        return name
    return f"{name[:48]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class FinishedRun:
    """A run that wrote a result file."""

    prompt: str
    method: str
    seed: int
    fingerprint: str
    outcome: str
    """Outcome that `gs3d generate` recorded: finished, or the reason why it ended early."""
    seconds: float
    """Wall-clock time of the command, and of those that were interrupted before it."""
    memory_mb: float | None
    """Peak memory of the process; None if the system does not report it."""
    evaluations_per_s: float | None = None
    """Evaluations of the prior in a second of optimization; None in runs of before 2026-11-29, and
    in those that were interrupted."""


def finished_before(job: Job, setup: Setup) -> FinishedRun | None:
    """Return the run that an earlier sweep finished for this job and these settings, or None."""
    run = _finished_in(setup.out / job.folder)
    return run if run and _identity_of(run) == _identity(job, setup) else None


def holds_another_run(job: Job, setup: Setup) -> bool:
    """Whether the folder of a job holds a finished run with other settings, or other code of its
    loss, which `sweep` would replace."""
    run = _finished_in(setup.out / job.folder)
    return run is not None and _identity_of(run) != _identity(job, setup)


def names_given(folders: Sequence[Path]) -> list[str]:
    """The names of methods that an evaluation gave to its finished runs; empty if these folders are
    not all of one evaluation, or a name means two things, as after a rerun with other minutes."""
    found = [run for run in map(_finished_in, folders) if run]
    roots = {folder.absolute().parent.parent for folder in folders}
    names = {run.method for run in found}
    clear = len({(run.method, run.fingerprint) for run in found}) == len(names)
    whole = len(found) == len(folders) and len(roots) == 1
    return [run.method for run in found] if whole and clear else []


def _finished_in(folder: Path) -> FinishedRun | None:
    try:
        run = FinishedRun(**json.loads((folder / FINISHED).read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return run if result_file(folder) else None


def _identity_of(run: FinishedRun) -> tuple[str, str, int, str]:
    return run.prompt, run.method, run.seed, run.fingerprint


def _identity(job: Job, setup: Setup) -> tuple[str, str, int, str]:
    """What tells the run of a job from all others."""
    return job.prompt, job.method.name, job.seed, setup.fingerprint(job.method)


def _start_of(job: Job, setup: Setup) -> list[str | int]:
    """What has to be the same for a run to go on: its identity, and the code that makes it."""
    return [*_identity(job, setup), torch.__version__, _code()]


@cache
def _code() -> str:
    """Hash of the code of gs3d."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _can_continue(job: Job, setup: Setup) -> bool:
    """Whether an earlier sweep of the same code began this run, which then ends as if it had not
    been interrupted."""
    if setup.budget[0] == "--minutes":
        return False
    folder = setup.out / job.folder
    try:
        return json.loads((folder / STARTED).read_text("utf-8")) == _start_of(job, setup)
    except (OSError, ValueError, RecursionError):
        return False


def _refuse_older_runs(jobs: Sequence[Job], setup: Setup) -> None:
    """`UserError` if a job would replace a finished run of a gs3d before 2026-11-28, which marked
    it by another file."""
    if any((setup.out / job.folder / "made.json").is_file() for job in jobs):
        raise UserError(
            f"--out {setup.out}: holds runs of an earlier version of gs3d, which would be deleted; "
            "choose another folder"
        )


def sweep(
    jobs: Sequence[Job], setup: Setup, then: Callable[[Job, FinishedRun], T]
) -> Iterator[tuple[Job, T | None]]:
    """Execute the jobs, and yield (job, result of `then`) for each in the order in which they end.

    The result is None for a run that left no result file; its run.log holds the reason.

    `then` is called before the next run starts on the same cores, so that its work does not slow
    down a run that is limited by minutes. Ctrl-C, or closing the iterator, terminates the runs in
    progress; they do not count as finished.
    """
    _refuse_older_runs(jobs, setup)
    make_writable(setup.out)
    free: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for share in shares(setup.at_once):
        free.put(share)
    settings = {method: _settings_of(method, setup) for method in {job.method for job in jobs}}
    running, stopping = set(), threading.Event()

    def execute(job: Job) -> T | None:
        share = free.get()
        try:
            if stopping.is_set():
                return None
            run = _run(job, setup, settings[job.method], share, running, stopping)
            return then(job, run) if run and not stopping.is_set() else None
        finally:
            free.put(share)

    pending = {}
    with ThreadPoolExecutor(setup.at_once) as pool:
        try:
            pending |= {pool.submit(execute, job): job for job in jobs}
            for future in as_completed(pending):
                yield pending[future], future.result()
        finally:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()


def _settings_of(method: Method, setup: Setup) -> list[str]:
    """Options of `gs3d generate` for a method. Settings of a config that the user chose are written
    to a YAML file, and the file of a loss is copied, so that all runs use those that the sweep
    began with."""
    folder = setup.out / "methods"
    folder.mkdir(exist_ok=True)
    options = setup.options_of(method).flags
    if setup.base_is_chosen or method.preset is not None:
        path = folder / f"{_folder_name(method.name)}.yaml"
        path.write_text(yaml.safe_dump(method.settings(setup.base), sort_keys=False), "utf-8")
        options += ["--config", str(path)]
    else:
        options += [part for change in method.paths for part in ("--set", change)]
        options += [] if method.file else ["--guidance", method.loss]
    if (loss := method.file) is not None:
        copy = copy_of(loss, setup.out)
        copy.write_bytes(loss.data)
        options += ["--guidance", f"{copy}:{loss.name}"]
    return options


def copy_of(loss: LossFile, out: Path) -> Path:
    """Where the copy of a loss file is, in the folder of a sweep."""
    return out / "methods" / f"{loss.path.stem}-{loss.sha256[:8]}.py"


def _run(
    job: Job,
    setup: Setup,
    settings: Sequence[str],
    share: set[int],
    running: set[subprocess.Popen],
    stopping: threading.Event,
) -> FinishedRun | None:
    """Execute one job in a process on the cores `share`. None if it left no result file."""
    folder = setup.out / job.folder
    command = [*GS3D, "generate", job.prompt, *setup.budget_of(job.method)]
    command += ["--prior", setup.prior]
    command += ["--seed", str(job.seed), *settings, "--out", str(folder)]
    # Before the run: if a file changes meanwhile, the run does not count as one with the new file.
    identity = _identity(job, setup)
    before_s = 0.0
    if _can_continue(job, setup):
        before_s = _logged_s(folder)
        command.append("--resume")
    else:
        # It may hold files of a run with other settings.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STARTED).write_text(json.dumps(_start_of(job, setup)) + "\n", "utf-8")
    began = time.monotonic()
    with open(folder / "run.log", "a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        running.add(process)
        if stopping.is_set():
            # It started while `sweep` was terminating the processes in `running`.
            process.terminate()
        if setup.at_once > 1:
            # The process reads the number of its cores much later. It may have ended already.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, share)
        process.wait()
        running.discard(process)
    seconds = before_s + time.monotonic() - began
    record = _record(folder)
    result = record.get("result")
    if stopping.is_set() or result is None or not result_file(folder):
        return None
    if result["outcome"] in STOPPED:
        return None
    rate = None
    if not before_s and (optimizing_s := record.get("timings_s", {}).get("optimize")):
        # Those of a loss of the user's own may be unknown.
        with contextlib.suppress(UserError):
            done = result.get("steps", 0) * setup.cost_of(job.method)
            rate = round(done / optimizing_s, 1)
    run = FinishedRun(
        *identity,
        result["outcome"],
        round(seconds, 2),
        result.get("peak_memory_mb"),
        rate,
    )
    (folder / FINISHED).write_text(json.dumps(asdict(run)) + "\n", "utf-8")
    return run


def _record(folder: Path) -> dict:
    """The run.yaml of a run; empty if there is none."""
    return run_yaml(folder) or {}


def _logged_s(folder: Path) -> float:
    """Seconds until the last iteration in the log of a run."""
    log = folder / LOG
    rows = read_log(log) if log.is_file() else []
    return float(rows[-1]["elapsed_s"]) if rows else 0.0
