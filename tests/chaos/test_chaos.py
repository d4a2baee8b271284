"""Runs that are killed again and again, at any moment and in the middle of writing a file, and
continued, with a wrong clock: in the end they are those of runs that nobody disturbed.

`python -m tests.chaos.test_chaos KILLS [SEED]` kills so often and prints a report as JSON;
`make chaos` kills fifty times. `make test` kills three times: splats twice, in the middle of a
checkpoint once, and a mesh while its files are written. Two stages, and kills while a log, a record
or a preview is written, are left to `make chaos`.
"""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.chaos.life import REPLACE_S, Kill, import_all, live

KILLS, KILLS_PER_RUN = 3, 2
STEPS = 12
LOADING_S = 2.0
"""About what a process takes until its first iteration."""
YEAR_S = 365 * 86400
SETTINGS = (
    "batch=4",
    "checkpoint_every_s=0.05",
    "progress_every_s=0.5",
    "cameras.resolution_px={at: [0.0], values: [16]}",
)
BALL = (
    "gaussians.count=300",
    "densify={start: 0.1, stop: 0.8, rounds: 4, grow_share: 0.2, max_count: 500}",
)
SMALL = "field: {hidden: 8, grid: {levels: 3, log2_size: 10, coarsest: 4, finest: 16}}"
FIELD = ("nerf={samples: 8, occupancy_resolution: 8, occupancy_every: 2, " + SMALL + "}",)
SURFACE = ("dmtet={resolution: 12, " + SMALL + "}",)
SETTINGS_OF = {
    "splats": SETTINGS + BALL,
    "mesh": SETTINGS + BALL + SURFACE,
    "two-stage": SETTINGS + FIELD + SURFACE,
}
IMAGES = ("preview.png", "turntable.mp4", "log.png")
MESHES = ("mesh.glb", "mesh.ply", "mesh.obj")
EXPORTED = {
    "splats": ("splats.ply", *IMAGES),
    "mesh": (*MESHES, *IMAGES),
    "two-stage": (*MESHES, *IMAGES),
}
"""Mode -> files that are written when the last iteration is done."""
BEFORE = ("log", "run.yaml", "progress.png")
WRITTEN = {"splats": BEFORE, "mesh": (*BEFORE, "stage-1.ply"), "two-stage": BEFORE}
"""Mode -> files that are written before that."""


@dataclass
class Report:
    """What happened."""

    kills: int = 0
    runs: int = 0
    half_written: collections.Counter[str] = field(default_factory=collections.Counter)
    """File -> kills in the middle of writing it."""
    failures: list[str] = field(default_factory=list)


def command(mode: str, folder: Path, *more: str) -> list[str]:
    """The arguments of a small run with the built-in prior."""
    argv = ["generate", "a red mushroom", "--mode", mode, "--steps", str(STEPS), "--out"]
    argv += [str(folder), "--prior", "builtin", "--device", "cpu", *more]
    return argv + [part for setting in SETTINGS_OF[mode] for part in ("--set", setting)]


def kill_of(number: int, mode: str, lasts_s: float, rng: random.Random) -> Kill:
    """Any moment, a checkpoint, and a file at the end of a run or before it, in turn."""
    delay_s = rng.uniform(0, REPLACE_S)
    if number % 3 == 1:
        return Kill("write", "checkpoint", rng.randint(1, 3), delay_s)
    if number % 3 == 2:
        files = EXPORTED[mode] if number % 2 == 0 else WRITTEN[mode]
        return Kill("write", rng.choice(files), 1, delay_s)
    return Kill("any", delay_s=rng.uniform(0, lasts_s))


def optimized_s(folder: Path) -> float:
    """Seconds from a run's first iteration to its end."""
    timings = yaml.safe_load((folder / "run.yaml").read_text())["timings_s"]
    return timings["optimize"] + timings["export"]


def age(folder: Path) -> None:
    """Let the newest checkpoint look like the oldest file."""
    for path in (folder / "checkpoint").glob("*"):
        seconds = 1e9 - int(path.stem.partition("_")[2])
        os.utime(path, (seconds, seconds))


def kill_and_continue(
    mode: str, folder: Path, most: int, lasts_s: float, rng: random.Random, report: Report
) -> str | None:
    """Kill and continue a run, at most so often, until it ends; its fault, if it ends badly."""
    output = folder.with_suffix(".txt")
    argv, killed = command(mode, folder, "--resume"), 0
    while True:
        kill = kill_of(report.kills, mode, lasts_s, rng) if killed < most else None
        death = live(argv, folder, output, kill, clock_off_s=rng.uniform(-YEAR_S, YEAR_S))
        if death.status != -signal.SIGKILL:
            lines = output.read_text().splitlines()[-8:]
            return f"status {death.status}: {' | '.join(lines)}" if death.status else None
        killed += 1
        report.kills += 1
        report.half_written.update(death.half_written)
        print(f"{folder.name} {kill} in {death.half_written}", file=sys.stderr, flush=True)
        age(folder)


def main(kills: int, seed: int = 0) -> int:
    """Kill so often, print the report, and return the number of failures."""
    from gs3d.representations import extract_mesh
    from gs3d.representations.dmtet import convert
    from tests.chaos.compare import differences
    from tests.small import use_small_files

    use_small_files()
    convert.FIT_STEPS, extract_mesh.FIELD_RESOLUTION = 10, 24
    began, report, rng = time.monotonic(), Report(), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        lasts_s: dict[str, float] = {}
        while report.kills < kills:
            mode = list(EXPORTED)[report.runs % len(EXPORTED)]
            undisturbed = Path(name) / mode
            if mode not in lasts_s:
                output = undisturbed.with_suffix(".txt")
                modules = Path(name) / "modules.txt"
                death = live(command(mode, undisturbed), undisturbed, output, modules=modules)
                assert death.status == 0, output.read_text()
                lasts_s[mode] = LOADING_S + optimized_s(undisturbed)
                import_all(modules)
            folder = Path(name) / f"{mode}-{report.runs}"
            report.runs += 1
            most = min(KILLS_PER_RUN, kills - report.kills)
            fault = kill_and_continue(mode, folder, most, lasts_s[mode], rng, report)
            faults = [fault] if fault else differences(folder, undisturbed, STEPS)
            report.failures += [f"{folder.name}, seed {seed}: {line}" for line in faults]
    seconds = {"seconds": round(time.monotonic() - began)}
    print(json.dumps(vars(report) | seconds))
    return len(report.failures)


def test_killed_and_continued_runs_equal_undisturbed_ones():
    command = [sys.executable, "-m", "tests.chaos.test_chaos", str(KILLS)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1800)
    assert done.stdout, done.stderr[-2000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert not report["failures"], "\n".join(report["failures"])
    assert report["kills"] == KILLS
    half_written = report["half_written"].keys()
    assert "checkpoint" in half_written
    assert half_written & {name for names in EXPORTED.values() for name in names}


if __name__ == "__main__":
    sys.exit(min(main(*map(int, sys.argv[1:])), 1))
