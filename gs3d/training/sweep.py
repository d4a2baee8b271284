"""Many runs of `gs3d generate`, each a fresh process, some side by side; what is done already is not done again."""

import contextlib
import os
import queue
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import yaml

from gs3d.core.errors import UserError
from gs3d.guidance import GUIDANCE
from gs3d.training.config import config_tree, load_config, parse_config
from gs3d.training.request import slug


@dataclass(frozen=True)
class Method:
    """A loss with the settings that are to be compared."""

    loss: str
    changes: tuple[str, ...] = ()
    """Each PLACE=VALUE; the place is one of the loss's own settings, or of the run's."""

    @staticmethod
    def parse(text: str) -> "Method":
        """From e.g. "cds" or "cds,fixed_noise=true,cfg.start=12"."""
        loss, *changes = (part.strip() for part in text.split(","))
        if loss not in GUIDANCE:
            raise UserError(f"--methods {text}: unknown loss {loss!r}; expected one of {', '.join(GUIDANCE)}, then PLACE=VALUE with commas")
        return Method(loss, tuple(changes))

    @property
    def name(self) -> str:
        return ",".join((self.loss, *self.changes))

    def settings(self, base: str) -> dict:
        """The settings of a preset or a file with the changes made, as `parse_config` takes them."""
        tree = config_tree(load_config(base, self.loss))
        for change in self.changes:
            place, equals, value = change.partition("=")
            *parents, key = place.split(".")
            branch = _branch(tree["losses"][self.loss], parents, key) or _branch(tree, parents, key)
            if not equals or branch is None:
                raise UserError(f"--methods {self.name}: {change}: expected PLACE=VALUE with a place of the settings, such as cfg.start=12")
            try:
                branch[key] = yaml.safe_load(value)
            except yaml.YAMLError:
                raise UserError(f"--methods {self.name}: {change}: the value is not YAML") from None
        parse_config(tree, f"--methods {self.name}")
        return tree


def _branch(tree: object, parents: Sequence[str], key: str) -> dict | None:
    """The dictionary at `parents`, if it has the key."""
    for parent in parents:
        tree = tree.get(parent) if isinstance(tree, dict) else None
    return tree if isinstance(tree, dict) and key in tree else None


@dataclass(frozen=True)
class Job:
    """One run to make."""

    prompt: str
    method: Method
    seed: int

    @property
    def folder(self) -> str:
        return f"runs/{slug(self.prompt)}/{slug(self.method.name)}-s{self.seed}"


@dataclass(frozen=True)
class Setup:
    """What all runs of a sweep have in common."""

    out: Path
    budget: tuple[str, str]
    """("--minutes", "3") or ("--steps", "500")."""
    base: str
    """Preset or file of settings."""
    prior: str = "builtin"
    at_once: int = 1
    """Runs side by side, each held to its own equal share of the cores: the marks are those of a smaller machine."""


@dataclass(frozen=True)
class Made:
    """A run that left splats."""

    job: Job
    seconds: float
    """Wall clock of the command."""
    memory_mb: float | None


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def shares(count: int) -> list[set[int]]:
    """The cores in `count` equal parts; what does not divide stays idle."""
    if not 1 <= count <= len(cores()):
        raise UserError(f"--at-once: expected 1 to {len(cores())}, a core a run at least, got {count}")
    if count > 1 and not hasattr(os, "sched_setaffinity"):
        raise UserError("--at-once: this system cannot hold a run to some of its cores; leave it at 1")
    size = len(cores()) // count
    return [set(cores()[i * size : (i + 1) * size]) for i in range(count)]


def check_jobs(jobs: Sequence[Job]) -> None:
    """`UserError` if two jobs would share a folder: prompts that differ in nothing a file name can hold, or in their sixtieth letter."""
    seen: dict[str, Job] = {}
    for job in jobs:
        if other := seen.get(job.folder):
            raise UserError(
                f"{job.prompt!r} and {other.prompt!r} with {job.method.name}: would share the folder {job.folder}; leave one out"
            )
        seen[job.folder] = job


def sweep(jobs: Sequence[Job], setup: Setup) -> Iterator[tuple[Job, Made | None]]:
    """Make the runs and yield each as it ends, None for one that failed; what it printed is in run.log of its folder.

    Ctrl-C ends the runs in progress, which leave nothing that counts as done.
    """
    free: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for share in shares(setup.at_once):
        free.put(share)
    configs = _write_settings({job.method for job in jobs}, setup)
    running: set[subprocess.Popen] = set()

    def one(job: Job) -> Made | None:
        share = free.get()
        try:
            return _run(job, setup, configs[job.method], share if setup.at_once > 1 else None, running)
        finally:
            free.put(share)

    with ThreadPoolExecutor(setup.at_once) as pool:
        pending = {pool.submit(one, job): job for job in jobs}
        try:
            for future in as_completed(pending):
                yield pending[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()


def _write_settings(methods: set[Method], setup: Setup) -> dict[Method, Path]:
    folder = setup.out / "methods"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {method: folder / f"{slug(method.name)}.yaml" for method in methods}
    for method, path in paths.items():
        path.write_text(yaml.safe_dump(method.settings(setup.base), sort_keys=False))
    return paths


def _run(job: Job, setup: Setup, config: Path, share: set[int] | None, running: set[subprocess.Popen]) -> Made | None:
    folder = setup.out / job.folder
    shutil.rmtree(folder, ignore_errors=True)  # what a run that was broken off left: it has no result yet
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "gs3d", "generate", job.prompt, *setup.budget, "--prior", setup.prior]
    command += ["--seed", str(job.seed), "--config", str(config), "--out", str(folder)]
    began = time.monotonic()
    with open(folder / "run.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        running.add(process)
        try:
            if share:
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    os.sched_setaffinity(process.pid, share)  # long before it asks how many threads it may have
            memory_mb = _wait(process)
        finally:
            running.discard(process)
    seconds = time.monotonic() - began
    # 1: it diverged, and exported the last good state
    return Made(job, round(seconds, 2), memory_mb) if process.returncode in (0, 1) and (folder / "splats.ply").exists() else None


def _wait(process: subprocess.Popen) -> float | None:
    """Until it ends; its peak memory in MB, None where the system does not say."""
    if not hasattr(os, "wait4"):
        process.wait()
        return None
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except ChildProcessError:  # another thread that wanted to end it has seen that it has ended
        process.wait()
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return round(usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 1024), 1)
