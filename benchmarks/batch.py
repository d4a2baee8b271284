"""Measure what a batch costs beside its rows: checks, index, gallery, restart and memory.

    python benchmarks/batch.py [--sizes 1000 20000] [--record]   rows that only seem to be made
    python benchmarks/batch.py --rows 1000 --seconds 2           whole rows, on two workers

Without --rows, everything is the real code of a batch, but for the workers: in their place, a loop
says of each row that it began, went on and ended, and writes its run.yaml. Times are of the process
that keeps the batch, in milliseconds of its wall clock for each event; the rest is in seconds.

With --rows, what a row costs beside its run is the time from its first event to its last one, less
what the run says that it took. Rows of 20 seconds and more are the preset `builtin`. Shorter ones
have a tiny untrained prior, small files, and as many iterations as take that time.
"""

import contextlib
import io
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tyro
from flat_memory import CHEAP, resident_mb, write_prior
from record import append, machine

from gs3d.batch.plan import Planned, planned
from gs3d.batch.request import Batch
from gs3d.batch.results import Results
from gs3d.batch.rows import read_rows
from gs3d.batch.run import run_batch
from gs3d.batch.shown import index
from gs3d.batch.shown.gallery import DATA
from gs3d.batch.shown.tally import Tally
from gs3d.batch.status import rebuild
from gs3d.batch.workers import pool
from gs3d.batch.workers.job import Event
from gs3d.cli.runs.batch_lines import Lines
from gs3d.io import SPLATS
from gs3d.runs.execute import execute
from gs3d.runs.prepare import prepare

sys.path.append(str(Path(__file__).parents[1]))
from tests.small import use_small_files  # noqa: E402 - not part of the package

SMALL = pool.CODE.replace("; from", "; from tests.small import use_small_files as u; u(); from", 1)
"""A worker that writes small files."""
FULL_S = 20.0
PROMPT = "a red mushroom with white spots"
AT_ONCE = 1000
"""Rows that run at once, or all of a shorter list."""
STEPS = 3
"""Events of a running row between its first and last one."""
WARM_UP = 100
"""Ended rows before the memory of the driver is read the first time."""


@dataclass(frozen=True)
class Args:
    sizes: tuple[int, ...] = (1000, 20_000)
    """Rows of each list."""
    rows: int | None = None
    """Make this many whole rows on two workers instead."""
    seconds: float = 2.0
    """Length of each of those, about."""
    record: bool = False
    """Append the result to results.jsonl."""


@dataclass
class Pretended:
    """In place of `Pool` and `Cluster`: says what workers would, and takes the time until the
    batch asks for the next event."""

    text: str
    """run.yaml of a row, with the prompt `PROMPT` and seed 0."""
    count: int = AT_ONCE
    in_words: str = f"{AT_ONCE} at once"
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Kind of event -> time that the batch took for each."""
    memory_mb: list[float] = field(default_factory=list[float])
    """Of this process, after `WARM_UP` rows and after all."""

    def check(self) -> None:
        """Nothing can be wrong."""

    def stop(self, at_once: bool = False) -> None:
        """Nothing runs."""

    def run(self, rows: Sequence[Planned]) -> Iterator[Event]:
        ended = 0
        for first in range(0, len(rows), self.count):
            wave = rows[first : first + self.count]
            for row in wave:
                yield from self._event(row, "started", {"worker": 0})
            for step in range(STEPS):
                for row in wave:
                    values = {"step": 100 * step, "progress": (step + 1) / (STEPS + 1)}
                    yield from self._event(row, "step", values)
            for row in wave:
                self._write(row)
                values = {"outcome": "finished", "steps": 400, "seconds": 900.0, "pieces": 200_000}
                yield from self._event(row, "ended", values | {"leaves": False})
                ended += 1
                if ended in (WARM_UP, len(rows)):
                    self.memory_mb.append(resident_mb())

    def _event(self, row: Planned, kind: str, values: dict[str, Any]) -> Iterator[Event]:
        began = time.perf_counter()
        yield Event(row, kind, values)
        self.seconds.setdefault(kind, []).append(time.perf_counter() - began)

    def _write(self, row: Planned) -> None:
        """A run that has ended, as far as a batch looks at it."""
        folder = row.request.out
        assert folder is not None
        folder.mkdir()
        text = self.text.replace("seed: 0\n", f"seed: {row.row.seed}\n", 1)
        (folder / "run.yaml").write_text(text)
        (folder / SPLATS).touch()


def batch_of(folder: Path, rows: int) -> Batch:
    """A batch of one prompt with many seeds, by a tiny prior."""
    lines = "".join(f'{{"prompt": "{PROMPT}", "seed": {seed}}}\n' for seed in range(rows))
    (folder / "list.jsonl").write_text(lines)
    return Batch(
        folder / "list.jsonl",
        steps=2,
        out=folder / "out",
        prior=str(folder / "prior"),
        config="builtin",
        set=CHEAP,
        device="cpu",
    )


def seconds(what: Any) -> tuple[dict[str, float], Any]:
    """How long a call takes, by the wall clock and of the processor, and its value."""
    began, used = time.perf_counter(), time.process_time()
    found = what()
    took, used = time.perf_counter() - began, time.process_time() - used
    return {"wall": round(took, 3), "cpu": round(used, 3)}, found


def pretend(batch: Batch, text: str) -> dict[str, Any]:
    """What a batch of rows costs that take no time."""
    from gs3d.batch import run

    row: dict[str, Any] = {}
    row["read_s"], listed = seconds(lambda: read_rows(batch.rows))
    row["check_s"], _ = seconds(lambda: planned(batch, listed))
    makers = Pretended(text)
    before, run.makers_of = run.makers_of, lambda *_: contextlib.nullcontext((makers, batch))
    shown = Lines()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            row["batch_s"], status = seconds(lambda: run_batch(batch, shown.say, shown.update))
    finally:
        run.makers_of = before
    assert status == 0
    row["ms"] = {
        kind: {
            "mean": round(1e3 * statistics.mean(times), 3),
            "median": round(1e3 * statistics.median(times), 3),
            "largest": round(1e3 * max(times), 1),
        }
        for kind, times in makers.seconds.items()
    }
    row["memory_mb"] = [round(mb, 1) for mb in makers.memory_mb]
    results = Results(batch.folder)
    row["restart_s"], rows = seconds(lambda: planned(batch, listed, results=results))
    assert all(one.progress == "done" for one in rows)
    row["index_open_s"], entries = seconds(lambda: index.read(batch.folder))
    assert len(entries) == len(listed)
    row["index_again_s"], _ = seconds(lambda: rebuild(batch.folder))
    row["index_mb"] = round((batch.folder / index.NAME).stat().st_size / 1e6, 2)
    row["gallery_mb"] = round((batch.folder / DATA).stat().st_size / 1e6, 2)
    return row


def pretended(args: Args, folder: Path) -> dict[str, Any]:
    """List of many rows -> its costs."""
    write_prior(folder / "prior")
    found: dict[str, Any] = {}
    for size in args.sizes:
        place = folder / str(size)
        place.mkdir()
        batch = replace(batch_of(place, size), prior=str(folder / "prior"))
        one = planned(batch, read_rows(batch.rows))[0].request
        text = (execute(prepare(replace(one, out=place / "one"))).folder / "run.yaml").read_text()
        row = found[str(size)] = pretend(batch, text)
        shutil.rmtree(place)
        print(f"\n{size} rows")
        for name, value in row.items():
            print(f"  {name:<14} {value}")
    return found


def steps_in(batch: Batch, folder: Path, wanted_s: float) -> int:
    """Iterations of a run that takes so long, by two short ones."""
    one = planned(batch, read_rows(batch.rows))[0].request
    few, many = 5, 105
    times = []
    for steps in (few, few, many):  # the first one compiles
        request = replace(one, steps=steps, out=folder / f"bare-{len(times)}")
        times.append(execute(prepare(request)).seconds)
    each = max((times[2] - times[1]) / (many - few), 1e-4)
    return max(round((wanted_s - times[1]) / each), few)


def whole(args: Args, folder: Path) -> dict[str, Any]:
    """Rows that are made: what each takes beside its run, and what the batch keeps in memory."""
    assert args.rows is not None
    write_prior(folder / "prior")
    batch = replace(batch_of(folder, args.rows), workers=2)
    if args.seconds >= FULL_S:
        batch = replace(batch, steps=None, minutes=args.seconds / 60, prior="builtin", set=())
    else:
        use_small_files()
        pool.COMMAND = (sys.executable, "-c", SMALL)
        batch = replace(batch, steps=steps_in(batch, folder, args.seconds))
    began: dict[str, float] = {}
    runs: list[float] = []
    beside: list[float] = []
    memory: list[float] = []
    shown = Lines()

    def watch(event: Event, tally: Tally) -> None:
        shown.update(event, tally)
        if event.kind == "started":
            began[event.row.row.name] = time.monotonic()
        elif event.kind == "ended":
            runs.append(event.values["seconds"])
            beside.append(time.monotonic() - began[event.row.row.name] - runs[-1])
            memory.append(resident_mb())

    all_s, status = seconds(lambda: run_batch(batch, shown.say, watch))
    assert status == 0
    # The first row of each worker waits for its process and the prior, which the others share.
    run_s, beside_s = statistics.median(runs), statistics.median(beside[2:] or beside)
    row = {
        "rows": args.rows,
        "run_s": round(run_s, 3),
        "beside_s": round(beside_s, 3),
        "beside_percent": round(100 * beside_s / run_s, 2),
        "first_rows_beside_s": [round(s, 1) for s in beside[:2]],
        "batch_s": all_s,
        "memory_mb": [round(memory[min(WARM_UP, len(memory) // 2)], 1), round(memory[-1], 1)],
        "index_open_s": seconds(lambda: index.read(batch.folder))[0],
        "gallery_mb": round((batch.folder / DATA).stat().st_size / 1e6, 2),
    }
    for name, value in row.items():
        print(f"  {name:<20} {value}")
    return row


def main(args: Args) -> None:
    shared = machine()
    with tempfile.TemporaryDirectory() as temporary:
        measure = pretended if args.rows is None else whole
        row = measure(args, Path(temporary))
    if args.record:
        append("batch" if args.rows is None else "batch-rows", {"lists": row}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
