"""Many runs of `gs3d generate`, each a fresh process, some side by side; what is done already is not done again."""

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
from pathlib import Path
from typing import TypeVar

import yaml

from gs3d.core.errors import UserError
from gs3d.core.runtime.threads import cores
from gs3d.experiments.methods import Method
from gs3d.io import result_file
from gs3d.runs.folders import make_writable, slug

T = TypeVar("T")
FINISHED = "finished.json"


@dataclass(frozen=True)
class Job:
    """One run to make."""

    prompt: str
    method: Method
    seed: int

    @property
    def folder(self) -> str:
        return f"runs/{_folder_name(self.prompt)}/{_folder_name(self.method.name)}-s{self.seed}"


def _folder_name(text: str) -> str:
    """`slug`, with a few digits of a hash where it does not say the whole text."""
    name = slug(text)
    return (
        name
        if name == text.lower().replace(" ", "-")
        else f"{name[:48]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    )


@dataclass(frozen=True)
class Setup:
    """What all runs of a sweep have in common."""

    out: Path
    budget: tuple[str, str]
    """("--minutes", "3") or ("--steps", "500")."""
    base: str
    """Preset or file of settings."""
    prior: str
    prior_hash: str
    """Of its weights."""
    at_once: int = 1
    """Runs side by side, each held to its own equal share of the cores: the marks are those of a smaller machine."""

    def fingerprint(self, method: Method) -> str:
        return method.fingerprint(
            self.base, *self.budget, self.prior_hash, str(len(shares(self.at_once)[0]))
        )


@dataclass(frozen=True)
class FinishedRun:
    """A run that left splats."""

    prompt: str
    method: str
    seed: int
    fingerprint: str
    outcome: str
    """As `gs3d generate` has it: finished, or what ended it early."""
    seconds: float
    """Wall clock of the command."""
    memory_mb: float | None
    """Peak memory of the process; None where the system does not say."""


def finished_before(job: Job, setup: Setup) -> FinishedRun | None:
    """What an earlier sweep made for this very job, with these very settings."""
    folder = setup.out / job.folder
    try:
        run = FinishedRun(**json.loads((folder / FINISHED).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    same = (run.prompt, run.method, run.seed, run.fingerprint) == (
        job.prompt,
        job.method.name,
        job.seed,
        setup.fingerprint(job.method),
    )
    return run if same and result_file(folder) else None


def shares(count: int) -> list[set[int]]:
    """The cores in `count` equal parts; what does not divide stays idle."""
    if not 1 <= count <= len(cores()):
        raise UserError(
            f"--at-once: expected 1 to {len(cores())}, a core a run at least, got {count}"
        )
    if count > 1 and not hasattr(os, "sched_setaffinity"):
        raise UserError(
            "--at-once: this system cannot hold a run to some of its cores; leave it at 1"
        )
    size = len(cores()) // count
    return [set(cores()[i * size : (i + 1) * size]) for i in range(count)]


def sweep(
    jobs: Sequence[Job], setup: Setup, then: Callable[[Job, FinishedRun], T]
) -> Iterator[tuple[Job, T | None]]:
    """Make the runs and yield for each, as it ends, what `then` makes of it; None for one that left nothing, whose run.log says why.

    `then` is called before the next run begins in the same place: what it needs of the processor, no run on a clock has to share. Ctrl-C
    ends the runs in progress, which leave nothing that counts as done.
    """
    make_writable(setup.out)
    free: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for share in shares(setup.at_once):
        free.put(share)
    configs = _write_settings({job.method for job in jobs}, setup)
    running, stopping = set(), threading.Event()

    def one(job: Job) -> T | None:
        share = free.get()
        try:
            run = (
                None
                if stopping.is_set()
                else _run(job, setup, configs[job.method], share, running, stopping)
            )
            return then(job, run) if run and not stopping.is_set() else None
        finally:
            free.put(share)

    pending = {}
    with ThreadPoolExecutor(setup.at_once) as pool:
        try:
            pending |= {pool.submit(one, job): job for job in jobs}
            for future in as_completed(pending):
                yield pending[future], future.result()
        finally:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()


def _write_settings(methods: set[Method], setup: Setup) -> dict[Method, Path]:
    folder = setup.out / "methods"
    folder.mkdir(exist_ok=True)
    paths = {method: folder / f"{_folder_name(method.name)}.yaml" for method in methods}
    for method, path in paths.items():
        path.write_text(yaml.safe_dump(method.settings(setup.base), sort_keys=False))
    return paths


def _run(
    job: Job,
    setup: Setup,
    config: Path,
    share: set[int],
    running: set[subprocess.Popen],
    stopping: threading.Event,
) -> FinishedRun | None:
    folder = setup.out / job.folder
    shutil.rmtree(
        folder, ignore_errors=True
    )  # what a run that was broken off left: it has no finished.json yet
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "gs3d",
        "generate",
        job.prompt,
        *setup.budget,
        "--prior",
        setup.prior,
    ]
    command += ["--seed", str(job.seed), "--config", str(config), "--out", str(folder)]
    began = time.monotonic()
    with open(folder / "run.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        running.add(process)
        if stopping.is_set():  # too late to be among those that were told
            process.terminate()
        if setup.at_once > 1:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.sched_setaffinity(
                    process.pid, share
                )  # long before it asks how many threads it may have
        process.wait()
        running.discard(process)
    seconds = time.monotonic() - began
    result = _result(folder)
    if stopping.is_set() or result is None or not result_file(folder):
        return None
    run = FinishedRun(
        job.prompt,
        job.method.name,
        job.seed,
        setup.fingerprint(job.method),
        result["outcome"],
        round(seconds, 2),
        result.get("peak_memory_mb"),
    )
    (folder / FINISHED).write_text(json.dumps(asdict(run)) + "\n")
    return run


def _result(folder: Path) -> dict | None:
    """What the run says of itself at its end."""
    try:
        tree = yaml.safe_load((folder / "run.yaml").read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return tree.get("result") if isinstance(tree, dict) else None
