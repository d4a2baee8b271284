"""How fast a million splats are written and read in each format, and how much memory it takes: medians.

`python benchmarks/export.py [--formats .ply .spz] [--degrees 0 3] [--record]`. Seconds by the clock and of the processor, on all threads;
memory is the most that the process has held beyond what it held before, as a multiple of the splats themselves, which are 56 MB at degree
0 and 236 MB at degree 3. What was read is part of it, and so are the pages of a file that is mapped. Every figure is of its own process.
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

from gs3d.io import READERS, WRITERS, load_splats, save_splats


@dataclass(frozen=True)
class Args:
    formats: tuple[str, ...] = tuple(WRITERS)
    degrees: tuple[int, ...] = (0, 3)
    count: int = 1_000_000
    runs: int = 3
    record: bool = False


def held(what: str) -> int:
    """Bytes by the kernel's name of them: VmRSS now, VmHWM at most since it was told to forget."""
    return 1024 * int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0])


def measured(call: Callable, runs: int) -> dict:
    """Medians of `runs` calls; the memory, where Linux tells it, is that of the first, after which the process keeps some."""
    seconds, cpu_seconds, peak = [], [], None
    if linux := Path("/proc/self/clear_refs").exists():
        ctypes.CDLL(None).malloc_trim(
            0
        )  # else what was freed before would be held still, and used again
        Path("/proc/self/clear_refs").write_text("5")
        before = held("VmRSS")
    for _ in range(runs):
        start, cpu_start = time.perf_counter(), time.process_time()
        call()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
        if linux and peak is None:
            peak = held("VmHWM") - before
    return {
        "s": round(statistics.median(seconds), 2),
        "cpu_s": round(statistics.median(cpu_seconds), 2),
        "peak_bytes": peak,
    }


def writing(path: Path, degree: int, count: int, runs: int) -> dict:
    """Also the bytes of the splats and of the file."""
    sh = 0.2 * torch.randn(count, (degree + 1) ** 2, 3, generator=torch.Generator().manual_seed(0))
    splats = dataclasses.replace(scene(count), sh=sh)
    save_splats(path, scene(100))  # so that all is imported
    row = measured(lambda: save_splats(path, splats), runs)
    return row | {
        "data_bytes": sum(part.nbytes for part in vars(splats).values()),
        "file_bytes": path.stat().st_size,
    }


def reading(path: Path, few: Path, runs: int) -> dict:
    save_splats(few, scene(100))
    load_splats(few)
    return measured(lambda: load_splats(path), runs)


def alone(function: Callable, *args: object) -> dict:
    """What `function` gives in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *args).result()


def resolution(row: dict | None, data_bytes: int) -> str:
    if row is None:
        return " " * 25
    memory = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / data_bytes:.2f}"
    return f"{row['s']:>8.2f} {row['cpu_s']:>7.2f} {memory:>8}"


def main(args: Args) -> None:
    shared, rows = machine(), {}
    print(
        f"{args.count} splats, {shared['cpu']}, {shared['threads']} threads, load {shared['load_before']}"
    )
    print(
        f"{'':20} {'write s':>8} {'CPU s':>7} {'× data':>8} {'read s':>8} {'CPU s':>7} {'× data':>8} {'MB':>7}"
    )
    for suffix in args.formats:
        for degree in args.degrees:
            with tempfile.TemporaryDirectory() as folder:
                path, few = Path(folder) / f"a{suffix}", Path(folder) / f"few{suffix}"
                write = alone(writing, path, degree, args.count, args.runs)
                read = alone(reading, path, few, args.runs) if suffix in READERS else None
            rows[f"{suffix} SH{degree}"] = {"write": write, "read": read}
            both = " ".join(resolution(row, write["data_bytes"]) for row in (write, read))
            print(
                f"{f'{suffix} SH{degree}':20} {both} {write['file_bytes'] / 1e6:>7.1f}", flush=True
            )
    if args.record:
        append("export", {"count": args.count, "runs": args.runs, "rows": rows}, shared)


if __name__ == "__main__":
    main(tyro.cli(Args))
