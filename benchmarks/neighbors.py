"""Measure what other programs on the same processor cost a run: iterations per second, and ratios.

`python benchmarks/neighbors.py [--seconds 40] [--record]`. Beside no, one and two programs that
always compute, in turns: all threads throughout, and the number of threads tuned as in runs by
minutes (`gs3d.core.runtime.neighbors`), from all threads at first. The ratio is that of the time of
an iteration to all threads alone. Run it where nothing else runs.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import tyro

from gs3d.core.runtime.openmp import spin_briefly

BUSY = "while True: pass"


@dataclass(frozen=True)
class Args:
    seconds: float = 40.0
    """Seconds of each measurement."""
    turns: int = 2
    """Measurements of each kind."""
    neighbors: tuple[int, ...] = (0, 1, 2)
    """Numbers of other programs."""
    record: bool = False
    """Append the result to results.jsonl."""


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many other programs that always compute."""
    programs = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def main(args: Args) -> None:
    from record import append, machine

    from gs3d.core.runtime.memory import keep_freed_blocks
    from gs3d.core.runtime.neighbors import tuned
    from gs3d.distill.settings.config import load_config
    from gs3d.distill.state import Task
    from gs3d.distill.step import iterate
    from gs3d.priors import ViewPrompts, load
    from gs3d.runs.loop import start

    keep_freed_blocks()  # as a run does
    shared, config = machine(), load_config("builtin")
    prior = load("builtin", "cpu")
    prompts = ViewPrompts.of(prior, "a red mushroom with white spots")
    state, task = start(config, 0, "cpu"), Task(prior, prompts, config, seed=0)
    for _ in range(20):
        iterate(state, task, 0.3, 1e-4)

    def rate(tunes: bool) -> float:
        """Iterations a second. Their number is fixed by the time alone, as in a run by minutes."""
        made, begin = 0, time.perf_counter()
        with tuned() if tunes else contextlib.nullcontext() as took:
            while (before := time.perf_counter()) - begin < args.seconds:
                iterate(state, task, 0.3, 1e-4)
                made += 1
                if took is not None:
                    took(time.perf_counter() - before)
        return made / (time.perf_counter() - begin)

    rows: dict[str, float] = {}
    for count in args.neighbors:
        found: dict[bool, list[float]] = {False: [], True: []}
        with busy(count):
            for _ in range(args.turns):
                for tunes, rates in found.items():
                    rates.append(rate(tunes))
        for tunes, rates in found.items():
            name = f"{count} neighbors, {'tuned' if tunes else 'all threads'}"
            rows[name] = round(sum(rates) / len(rates), 3)
            ratio = next(iter(rows.values())) / rows[name]
            print(f"{name:<28} {rows[name]:6.2f} iterations/s   ratio {ratio:.2f}", flush=True)
    if args.record:
        append("neighbors", {"iterations_per_s": rows, "seconds": args.seconds}, shared)


if __name__ == "__main__":
    spin_briefly()  # before torch is imported, as the command does
    main(tyro.cli(Args, description=__doc__))
