"""Measure the CPU rasterizer: forward and backward time per view, and peak memory.

    python benchmarks/raster.py             four sizes, 4 views each; appends rows to results.jsonl
    python benchmarks/raster.py --dry-run   only prints
    python benchmarks/raster.py --oracle    also times the PyTorch oracle at the smallest size

The scene resembles a run at half its time: centers uniform in a ball of radius 0.8, anisotropic
standard deviations of about half the distance between neighbors, opacities from clear to solid, one
color per splat. The loss uses rgb and alpha. Each size runs in its own process, so that the peak
memory is that of this size.

"bound" is the time that the arithmetic alone would take: the pairs of a pixel and a splat that are
drawn, times the operations for each, over the operations a second of a large matrix product, which
is measured after it. "share" is its part of the fastest time. The rest are sort, lists, projection,
waiting for results of the operation before, and what tiles and splats cost whatever their size.
"""

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from record import append, machine

from gs3d.core.cameras import ring
from gs3d.core.runtime.openmp import spin_briefly
from gs3d.core.types import Splats
from gs3d.raster import cpu

SIZES = {
    "5k splats 64²": (5_000, 64),
    "10k splats 128²": (10_000, 128),
    "20k splats 256²": (20_000, 256),
    "50k splats 512²": (50_000, 512),
}
VIEWS = 4
OPERATIONS = 34 + 50
"""Arithmetic operations for a pair in `_tiles._composite` and `_composite_backward`, without depth
in the loss and without normals. A product with a sum is one, as for a matrix product."""


def scene(count: int, seed: int = 0) -> Splats:
    """Return `count` random splats as described above."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, 12, generator=generator)
    radius = 0.8 * torch.rand(count, 1, generator=generator) ** (1 / 3)
    spacing = 0.8 * (4 / 3 * math.pi / count) ** (1 / 3)
    return Splats(
        means=torch.nn.functional.normalize(normal[:, :3], dim=1) * radius,
        quats=normal[:, 3:7],
        scales=0.5 * spacing * (0.4 * normal[:, 7:10]).exp(),
        opacities=torch.sigmoid(1.5 * normal[:, 10]),
        sh=torch.randn(count, 1, 3, generator=generator),
    )


def operations_per_s() -> float:
    """What the threads of torch can do at most, of operations on float32."""
    side, times = 1024, []
    a = torch.randn(side, side)
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return side**3 / min(times)


def drawn_pairs(image: torch.Tensor) -> int:
    """Pairs of a pixel and a splat that drew `image`: those in the rows of tiles that are kept for
    the backward pass."""
    kernels = cpu.kernels()
    saved = [t if t is None else t.detach().numpy() for t in image.grad_fn.saved_tensors]
    if len(saved) < 16:
        raise RuntimeError("there were several batches, of which none is kept")
    starts, drawn, offsets, items = saved[9], saved[10], saved[13], saved[15]
    pairs = 0
    for task, (begins, counts) in enumerate(
        zip(starts.reshape(-1, starts.shape[2]), drawn.reshape(-1, drawn.shape[2]), strict=True)
    ):
        if begins[-1] < 0:
            raise RuntimeError("a band was not kept; raise ROOM")
        first = kernels.ROOM * offsets[task]
        rows = items[first : first + counts.sum(), 1]
        pairs += kernels.TILE * int((rows // kernels.ROWS - rows % kernels.ROWS).sum())
    return pairs


def time_one(
    draw: Callable, count: int, size: int, seconds: float, warm_up: int, least: int
) -> dict:
    """Return medians in ms per view, over at least `least` runs and at least `seconds`.

    `warm_up` runs come first and are not counted.
    """
    splats, cameras, background = scene(count), ring(VIEWS, size), torch.ones(3)
    for name in ("means", "quats", "scales", "opacities", "sh"):
        getattr(splats, name).requires_grad_()
    weights = torch.randn(VIEWS, size, size, 4, generator=torch.Generator().manual_seed(1))
    forward_ms, total_ms = [], []
    begin, runs = time.perf_counter(), 0
    while runs < warm_up + least or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        out = draw(splats, cameras, background)
        middle = time.perf_counter()
        loss = (out.rgb * weights[..., :3]).sum() + (out.alpha * weights[..., 3:]).sum()
        torch.autograd.grad(
            loss, [splats.means, splats.quats, splats.scales, splats.opacities, splats.sh]
        )
        end = time.perf_counter()
        if runs >= warm_up:
            forward_ms.append(1e3 * (middle - start) / VIEWS)
            total_ms.append(1e3 * (end - start) / VIEWS)
        runs += 1
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024 * 1024 if sys.platform == "darwin" else 1024
    )
    bound = None
    if draw is cpu.rasterize_cpu:
        out = draw(splats, cameras, background)
        bound = round(1e3 * OPERATIONS * drawn_pairs(out.rgb) / operations_per_s() / VIEWS, 3)
    return {
        "bound_ms_per_view": bound,
        "forward_ms_per_view": round(statistics.median(forward_ms), 3),
        "forward_backward_ms_per_view": round(statistics.median(total_ms), 3),
        "fastest_ms_per_view": round(min(total_ms), 3),
        "runs": len(total_ms),
        "peak_rss_mb": round(peak_mb),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print only, without writing results.jsonl"
    )
    parser.add_argument(
        "--oracle", action="store_true", help="also time the oracle at the smallest size (minutes)"
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="least time per size (8)")
    parser.add_argument("--only", choices=list(SIZES), help="measure one size only")
    parser.add_argument(
        "--worker", nargs=3, metavar=("METHOD", "COUNT", "SIZE"), help=argparse.SUPPRESS
    )
    args = parser.parse_args()
    if args.worker:
        from gs3d.raster.reference import rasterize_reference

        # The oracle takes seconds per view, so it gets only two timed runs.
        draw, warm_up, least = (
            (cpu.rasterize_cpu, 3, 5) if args.worker[0] == "cpu" else (rasterize_reference, 1, 2)
        )
        count, size = int(args.worker[1]), int(args.worker[2])
        print(json.dumps(time_one(draw, count, size, args.seconds, warm_up, least)))
        return

    import numba

    spin_briefly()  # as a run does; the workers inherit it
    common = machine() | {"numba": numba.__version__, "views": VIEWS}
    jobs = [("cpu", name) for name in SIZES if args.only in (None, name)] + (
        [("oracle", next(iter(SIZES)))] if args.oracle else []
    )
    threads, load = common["threads"], common["load_before"]
    print(f"{common['cpu']}, {threads} threads, load {load}; ms per view, {VIEWS} views per call")
    heads = ("forward", "fwd+bwd", "fastest", "bound", "share %")
    print(f"{'':24} {' '.join(f'{h:>9}' for h in heads)} {'runs':>6} {'peak MB':>8}")
    for method, name in jobs:
        worker = [method, *(str(v) for v in SIZES[name])]
        command = [sys.executable, __file__, "--seconds", str(args.seconds), "--worker", *worker]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row = json.loads(output.splitlines()[-1])
        label = name if method == "cpu" else f"{name} {method}"
        columns = ("forward_ms_per_view", "forward_backward_ms_per_view", "fastest_ms_per_view")
        figures, bound = [row[column] for column in columns], row["bound_ms_per_view"]
        if bound is not None:  # the oracle has none
            figures += [bound, 100 * bound / row["fastest_ms_per_view"]]
        times = " ".join(f"{figure:9.2f}" for figure in figures).ljust(10 * len(heads) - 1)
        print(f"{label:24} {times} {row['runs']:6} {row['peak_rss_mb']:8}", flush=True)
        if not args.dry_run:
            append("raster", {"method": method, "size": name} | row, common)


if __name__ == "__main__":
    main()
