"""Shares the tasks of a compiled kernel out among threads."""

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def _forget_pool() -> None:
    """A forked child has none of its parent's threads, so it must make its own."""
    global _lock, _pool, _pool_size
    _lock, _pool, _pool_size = threading.Lock(), None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _workers(count: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < count:
            _pool, _pool_size = ThreadPoolExecutor(count, thread_name_prefix="gs3d-kernel"), count
        return _pool


def cores() -> list[int]:
    """The cores that this process may use."""
    return (
        sorted(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else list(range(os.cpu_count() or 1))
    )


def run(kernel: Callable, tasks: int, *args) -> None:
    """Calls `kernel(piece, pieces, *args)` until every piece is done; piece p owns the tasks p, p + pieces, p + 2·pieces, …

    Plain threads over kernels that let go of the interpreter lock, rather than numba's prange: a viewer may render from its own thread
    while training goes on (numba's fallback threading layer kills the process then), a fork stays safe, and kernels compile in
    half the time. `torch.set_num_threads`, and so OMP_NUM_THREADS, decides how many. There are more pieces than threads, taken in
    turn, so that a thread that another program holds up does not hold up the rest. Kernels write where their task alone writes, so
    the number of threads and of pieces cannot change a single bit.
    """
    threads = min(torch.get_num_threads(), tasks)
    if threads <= 1:
        kernel(0, 1, *args)
        return
    pieces = min(tasks, 4 * threads)
    counter = itertools.count()

    def work() -> None:
        while (piece := next(counter)) < pieces:
            kernel(piece, pieces, *args)

    helpers = [_workers(threads - 1).submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            if not helper.cancel():
                helper.result()
