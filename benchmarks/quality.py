"""How good the results are: runs `gs3d generate` on prompts of the world with each method, and has the recogniser mark them.

    python benchmarks/quality.py --minutes 3 --colours 2 --out outputs/quality
    python benchmarks/quality.py --steps 300 --kinds mushroom duck --methods cds --limit 2
    python benchmarks/quality.py --steps 500 --offset 2 --methods cds --config builtin --set losses.cds.cfg.start=12 --out outputs/cfg12

Every run is a fresh process, so `--minutes` is wall clock with everything counted. Stop it at any time: the same command goes on with
what is not done yet. Leaves quality.json, sheet.png and the runs in `--out`, and prints Markdown tables.
"""

import dataclasses
import json
import os
import queue
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tyro
import yaml
from record import append, machine

import gs3d
from gs3d.core.errors import UserError
from gs3d.evaluation.grade import grade
from gs3d.evaluation.recogniser import Recogniser
from gs3d.evaluation.report import Result, markdown, summary, to_json, write_result_sheet
from gs3d.guidance import GUIDANCE
from gs3d.priors.builtin import known_words
from gs3d.training.config import config_tree, load_config, parse_config
from gs3d.training.request import slug
from gs3d.world.captions import Thing, words


@cache
def known(question: str) -> tuple[str, ...]:
    """The kinds or colours ("kind", "colour") that both the built-in prior and the recogniser know, in the recogniser's order."""
    return tuple(word for word in Recogniser.load().answers[question] if set(words(word)) <= known_words())


@dataclass(frozen=True)
class Args:
    minutes: float = 3.0
    """Wall clock of each run."""
    steps: int | None = None
    """Iterations of each run, instead of minutes."""
    methods: tuple[str, ...] = ("cds", "sds")
    """Losses to compare, as `gs3d generate --guidance` takes them."""
    kinds: tuple[str, ...] = ()
    """Kinds of object to make; all that the built-in prior and the recogniser know when not given."""
    colours: int = 2
    """Colours a kind is made in; which ones is fixed. With two, all come equally often over the kinds."""
    offset: int = 0
    """Colours further on in the list: settings are tuned with 2, whose prompts are none of those that 0 reports with two colours."""
    seed: int = 0
    prior: str = "builtin"
    config: str | None = None
    """A preset or a YAML file, as `gs3d generate --config` takes it."""
    set: tuple[str, ...] = ()
    """Settings to change in it, each PLACE=VALUE."""
    out: Path = Path("outputs/quality")
    at_once: int = 1
    """Runs made side by side, each held to its own equal share of the processor's cores: the marks are those of a smaller machine."""
    limit: int | None = None
    """Only the first so many runs. All methods of one prompt come before the next prompt."""
    record: bool = False
    """Append a row for each method to benchmarks/results.jsonl."""


@dataclass(frozen=True)
class Job:
    """One run to make."""

    kind: str
    colour: str
    method: str

    @property
    def prompt(self) -> str:
        return Thing(self.kind, self.colour).phrase()

    @property
    def folder(self) -> str:
        return f"runs/{slug(self.prompt)}-{self.method}"


def colours_of(kind: str, count: int, offset: int = 0) -> list[str]:
    """`count` colour words for a kind, far apart in the list, beginning one further for each kind."""
    names, first = known("colour"), known("kind").index(kind) + offset
    return [names[(first + j * len(names) // count) % len(names)] for j in range(count)]


def jobs_of(args: Args) -> list[Job]:
    unknown = [k for k in args.kinds if k not in known("kind")]
    if unknown:
        raise UserError(f"--kinds {' '.join(unknown)}: cannot be made and graded; expected some of {', '.join(known('kind'))}")
    if not 1 <= args.colours <= len(known("colour")):
        raise UserError(f"--colours: expected 1 to {len(known('colour'))}, got {args.colours}")
    kinds = args.kinds or known("kind")
    jobs = [Job(k, colour, m) for k in kinds for colour in colours_of(k, args.colours, args.offset) for m in args.methods]
    if not 1 <= args.at_once <= len(cores()):
        raise UserError(f"--at-once: expected 1 to {len(cores())}, a core a run at least, got {args.at_once}")
    if args.at_once > 1 and not hasattr(os, "sched_setaffinity"):
        raise UserError("--at-once: this system cannot hold a run to some of its cores; leave it at 1")
    return jobs[: args.limit]


def cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def shares(count: int) -> list[set[int]]:
    """The cores in `count` equal parts; what does not divide stays idle."""
    size = len(cores()) // count
    return [set(cores()[i * size : (i + 1) * size]) for i in range(count)]


def settings_of(args: Args) -> dict:
    """What every result of one folder has in common."""
    budget = {"steps": args.steps} if args.steps is not None else {"minutes": args.minutes}
    common = {"seed": args.seed, "prior": args.prior, "config": args.config, "set": list(args.set), "offset": args.offset}
    return budget | common | {"cores": len(shares(args.at_once)[0])}


def changed(config: str | None, changes: tuple[str, ...]) -> dict:
    """The settings of a preset or a file with `changes` made: those of every loss, so that one file serves all methods."""
    if config is None:
        raise UserError("--set: changes the settings that --config names; name a preset or a file")
    tree = config_tree(load_config(config))
    for loss in GUIDANCE:
        tree["losses"] |= config_tree(load_config(config, loss))["losses"]
    for change in changes:
        place, equals, value = change.partition("=")
        *parents, key = place.split(".")
        branch = tree
        for parent in parents:
            branch = branch.get(parent) if isinstance(branch, dict) else None
        if not equals or not isinstance(branch, dict) or key not in branch:
            raise UserError(f"--set {change}: expected PLACE=VALUE with a place of the settings, such as losses.cds.cfg.start=12")
        try:
            branch[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"--set {change}: the value is not YAML") from None
    parse_config(tree, "--set " + " ".join(changes))
    return tree


def read(path: Path, settings: dict) -> dict[str, Result]:
    """The results that are there, by the folder of their run."""
    if not path.exists():
        return {}
    tree = json.loads(path.read_text())
    if tree["settings"] != settings:
        raise UserError(f"{path}: holds results with {tree['settings']}, not {settings}; choose another --out")
    return {row["folder"]: Result.of(row) for row in tree["results"]}


def write(path: Path, settings: dict, done: dict[str, Result]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"settings": settings, "results": to_json(list(done.values()))}, indent=1) + "\n")
    os.replace(temporary, path)


def run(job: Job, args: Args, config: str | None, judge: Recogniser, share: set[int]) -> Result | None:
    """Make one object on a share of the cores and grade it; None if the command failed. What it printed is in run.log of its folder."""
    folder = args.out / job.folder
    shutil.rmtree(folder, ignore_errors=True)  # what a run that was broken off left: it has no result yet
    folder.mkdir(parents=True)
    budget = ["--steps", str(args.steps)] if args.steps is not None else ["--minutes", str(args.minutes)]
    command = [sys.executable, "-m", "gs3d", "generate", job.prompt, *budget, "--guidance", job.method, "--prior", args.prior]
    command += ["--seed", str(args.seed), "--out", str(folder)] + (["--config", config] if config else [])
    began = time.monotonic()
    with open(folder / "run.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        if args.at_once > 1:
            os.sched_setaffinity(process.pid, share)  # long before it asks how many threads it may have
        status = process.wait()
    seconds = time.monotonic() - began
    if status == 130:
        raise KeyboardInterrupt
    if status not in (0, 1) or not (folder / "splats.ply").exists():  # 1: it diverged, and exported the last good state
        print(f"failed with status {status}: {job.prompt}, {job.method}; see {folder / 'run.log'}", flush=True)
        return None
    splats = gs3d.load(folder / "splats.ply").splats
    marks = grade(splats, job.kind, job.colour, judge)
    return Result(job.method, job.kind, job.colour, job.prompt, job.folder, round(seconds, 2), len(splats), marks)


def main(args: Args) -> None:
    jobs, settings, here = jobs_of(args), settings_of(args), machine()
    path = args.out / "quality.json"
    done, judge, config = read(path, settings), Recogniser.load(), args.config
    if args.set:
        tree, config = changed(args.config, args.set), str(args.out / "config.yaml")
        args.out.mkdir(parents=True, exist_ok=True)
        Path(config).write_text(yaml.safe_dump(tree, sort_keys=False))
    todo = [(number, job) for number, job in enumerate(jobs, 1) if job.folder not in done]
    free: queue.SimpleQueue[set[int]] = queue.SimpleQueue()
    for share in shares(args.at_once):
        free.put(share)

    def one(number: int, job: Job) -> tuple[Job, Result | None]:
        share = free.get()
        try:
            print(f"{number}/{len(jobs)}  {job.prompt}, {job.method}", flush=True)
            return job, run(job, args, config, judge, share)
        finally:
            free.put(share)

    with ThreadPoolExecutor(args.at_once) as pool:
        pending = [pool.submit(one, *item) for item in todo]
        try:
            for future in as_completed(pending):
                job, result = future.result()
                if result:
                    done[job.folder] = result
                    write(path, settings, done)
                    marks = dataclasses.asdict(result.grade)
                    said = "  ".join(f"{k} {marks[k]:.2f}" for k in ("kind_right", "colour_right", "haze"))
                    print(f"    {job.prompt}, {job.method}: {said}", flush=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    results = [done[job.folder] for job in jobs if job.folder in done]
    if not results:
        raise UserError("no run left splats; see the run.log of each")
    write_result_sheet(args.out / "sheet.png", results, lambda r: gs3d.load(args.out / r.folder / "splats.ply").splats)
    print("\n" + markdown(results) + f"\n\n{path}\n{args.out / 'sheet.png'}")
    if args.record:
        for method in dict.fromkeys(r.method for r in results):
            append("quality", settings | {"method": method} | summary([r for r in results if r.method == method]), here)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args, description=__doc__))
    except UserError as error:
        sys.exit(f"quality: {error}")
    except KeyboardInterrupt:
        sys.exit("quality: interrupted; the same command goes on")
