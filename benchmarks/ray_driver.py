"""Measure what a batch on Ray costs the process that keeps it, with many rows that wait.

`python benchmarks/ray_driver.py [--rows 1000 20000] [--record]` starts a small Ray on this machine
and gives it rows that nothing has room for. Each look is that of a batch (`Cluster._look`): for
rows that ended, and for what the others have said, here 500 events, as many as a thousand rows say
in a second. Prints milliseconds of this process (its processor time) and of the wall clock.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from record import append, machine

from gs3d.batch.plan import Planned, planned
from gs3d.batch.request import Batch
from gs3d.batch.rows import read_rows
from gs3d.batch.workers.cluster import Cluster
from gs3d.batch.workers.job import Event, job_of, job_to

EVENTS = 500
"""Events between two looks."""


@dataclass(frozen=True)
class Args:
    rows: tuple[int, ...] = (1000, 20_000)
    """Rows of each batch."""
    looks: int = 5
    """Timed looks, without events and with them."""
    record: bool = False
    """Append the result to results.jsonl."""


class Ended(Exception):
    """All looks are taken."""


class Watched(Cluster):
    """A cluster that times its looks."""

    def __init__(self, batch: Batch, looks: int):
        super().__init__(batch, lambda line: None)
        self.looks = looks
        self.began = self.ended = time.perf_counter()
        self.row: dict[str, float] = {}
        self._quiet: list[float] = []
        self._busy: list[float] = []

    def _look(self, events: Any) -> Iterator[Event]:
        import ray

        if not self._quiet:
            self.row["submit_s"] = round(time.perf_counter() - self.began, 2)
        if len(self._quiet) < self.looks:
            times = self._quiet
        else:
            times = self._busy
            name = next(iter(self._tasks))
            began = time.perf_counter()
            event = {"event": "step", "step": 1, "progress": 0.5}
            ray.get([events.actor.put_nowait.remote((name, event)) for _ in range(EVENTS)])
            self.row["queued_a_second"] = round(EVENTS / (time.perf_counter() - began))
        used = time.process_time()
        yield from super()._look(events)
        times.append(1e3 * (time.process_time() - used))
        if len(self._busy) == self.looks:
            self.row["look_ms"] = round(statistics.median(self._quiet), 1)
            self.row["look_with_events_ms"] = round(statistics.median(self._busy), 1)
            self.ended = time.perf_counter()
            raise Ended


def rows_of(folder: Path, number: int) -> tuple[Batch, list[Planned]]:
    """A batch that wants GPUs, and its rows."""
    lines = "".join(f'{{"prompt": "a red duck", "seed": {seed}}}\n' for seed in range(number))
    (folder / "list.jsonl").write_text(lines)
    batch = Batch(folder / "list.jsonl", out=folder, prior="builtin", device="cpu")
    found = planned(batch, read_rows(batch.rows))
    return replace(batch, device="cuda", ray="auto"), found


def main(args: Args) -> None:
    import ray

    shared, found = machine(), {}
    ray.init(num_cpus=1, num_gpus=0, include_dashboard=False, log_to_driver=False)
    for number in args.rows:
        with tempfile.TemporaryDirectory() as temporary:
            batch, rows = rows_of(Path(temporary), number)
            cluster = Watched(batch, args.looks)
            try:
                for _ in cluster.run(rows):
                    pass
            except Ended:
                cluster.row["stop_s"] = round(time.perf_counter() - cluster.ended, 2)
            row = cluster.row
            row["job_bytes"] = len(job_to(job_of(rows[0])))
            found[str(number)] = row
            parts = ", ".join(f"{name} {value}" for name, value in row.items())
            print(f"{number:>6} rows: {parts}")
    ray.shutdown()
    if args.record:
        append("ray-driver", {"rows": found, "looks": args.looks}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
