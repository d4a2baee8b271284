"""Measure time and memory for writing and reading a million splats in each file format.

`python benchmarks/export.py [--formats .ply .spz] [--degrees 0 3] [--record]` prints medians of
wall-clock seconds and of CPU seconds of all threads. Memory is the peak growth of the process, as a
multiple of the splat data: 56 MB at degree 0, 236 MB at degree 3. It includes the splats that were
read and the pages of memory-mapped files. Each measurement runs in its own process.
"""

import ctypes
import dataclasses
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from raster import scene
from record import append, machine

from gs3d.io import FORMATS, load_splats, readable, save_splats


@dataclass(frozen=True)
class Args:
    formats: tuple[str, ...] = tuple(FORMATS)
    """File formats, by suffix."""
    degrees: tuple[int, ...] = (0, 3)
    """Degrees of the spherical harmonics."""
    count: int = 1_000_000
    """Number of splats."""
    runs: int = 3
    """Timed runs per measurement."""
    record: bool = False
    """Append the result to results.jsonl."""


def memory_bytes(field: str) -> int:
    """Read a field of /proc/self/status: VmRSS is the current memory, VmHWM its peak."""
    return 1024 * int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0])


def measured(call: Callable, runs: int) -> dict:
    """Return medians of `runs` calls, and the peak memory of the first call on Linux.

    Later calls would reuse memory that the process keeps.
    """
    seconds, cpu_seconds, peak = [], [], None
    if linux := Path("/proc/self/clear_refs").exists():
        # Return freed memory to the system; otherwise the call would reuse it unnoticed.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
        before = memory_bytes("VmRSS")
    for _ in range(runs):
        start, cpu_start = time.perf_counter(), time.process_time()
        call()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        if linux and peak is None:
            peak = memory_bytes("VmHWM") - before
    return {
        "s": round(statistics.median(seconds), 2),
        "cpu_s": round(statistics.median(cpu_seconds), 2),
        "peak_bytes": peak,
    }


def writing(path: Path, degree: int, count: int, runs: int) -> dict:
    """Measure writing, and add the sizes of the splat data and of the file in bytes."""
    sh = 0.2 * torch.randn(count, (degree + 1) ** 2, 3, generator=torch.Generator().manual_seed(0))
    splats = dataclasses.replace(scene(count), sh=sh)
    save_splats(path, scene(100))  # imports everything
    row = measured(lambda: save_splats(path, splats), runs)
    return row | {
        "data_bytes": sum(part.nbytes for part in vars(splats).values()),
        "file_bytes": path.stat().st_size,
    }


def reading(path: Path, small: Path, runs: int) -> dict:
    """Measure reading; a first read of the file `small` imports everything."""
    save_splats(small, scene(100))
    load_splats(small)
    return measured(lambda: load_splats(path), runs)


def in_new_process(function: Callable, *args: object) -> dict:
    """Call `function` in a process of its own and return its result."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args).result()


def columns(row: dict | None, data_bytes: int) -> str:
    """Format the columns of one measurement."""
    if row is None:
        return " " * 25
    memory = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / data_bytes:.2f}"
    return f"{row['s']:>8.2f} {row['cpu_s']:>7.2f} {memory:>8}"


def main(args: Args) -> None:
    shared, rows = machine(), {}
    threads, load = shared["threads"], shared["load_before"]
    print(f"{args.count} splats, {shared['cpu']}, {threads} threads, load {load}")
    head = f"{'CPU s':>7} {'× data':>8}"
    print(f"{'':20} {'write s':>8} {head} {'read s':>8} {head} {'MB':>7}")
    for suffix in args.formats:
        for degree in args.degrees:
            with tempfile.TemporaryDirectory() as folder:
                path, small = Path(folder) / f"a{suffix}", Path(folder) / f"small{suffix}"
                write = in_new_process(writing, path, degree, args.count, args.runs)
                read = (
                    in_new_process(reading, path, small, args.runs)
                    if suffix in readable()
                    else None
                )
            rows[f"{suffix} SH{degree}"] = {"write": write, "read": read}
            both = " ".join(columns(row, write["data_bytes"]) for row in (write, read))
            print(
                f"{f'{suffix} SH{degree}':20} {both} {write['file_bytes'] / 1e6:>7.1f}", flush=True
            )
    if args.record:
        append("export", {"count": args.count, "runs": args.runs, "rows": rows}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
