"""Runs the tasks of a compiled kernel on several threads."""

import contextlib
import functools
import itertools
import math
import os
import random
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import torch

from gs3d.core.runtime.quota import cpu_quota

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_count: int | None = None
"""Number of threads of `run`; None for that of torch."""


def use(count: int | None) -> None:
    """Let `run` use so many threads, or with None as many as torch."""
    global _count
    _count = count


def _forget_pool() -> None:
    """Reset the thread pool in a forked child, because threads do not survive a fork."""
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


@contextlib.contextmanager
def meanwhile(act: Callable[[threading.Event], None]) -> Generator[None, None, None]:
    """Run `act` in a thread. It gets an event that is set at the end, and then shall end."""
    ended = threading.Event()
    thread = threading.Thread(target=act, args=[ended], daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def cores() -> list[int]:
    """Indices of the CPU cores that this process may use: not more than a container has quota for,
    rounded up."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    found, quota = sorted(os.sched_getaffinity(0)), cpu_quota()
    if quota is None or quota >= len(found):
        return found
    # Containers on one machine do not know of each other, and shall not all take the first cores.
    first = _first_core() % len(found)
    return sorted((found[first:] + found[:first])[: math.ceil(quota)])


@functools.cache
def _first_core() -> int:
    """A random number, the same whenever this process asks."""
    return random.SystemRandom().randrange(2**16)


def run(kernel: Callable[..., object], tasks: int, *args: object, count: int | None = None) -> None:
    """Call `kernel(piece, pieces, *args)` for every piece in range(pieces), on several threads.

    Piece p processes the tasks p, p + pieces, p + 2·pieces, … below `tasks`. The number of threads
    is `count`, or else that of `use`, or else that of `torch.set_num_threads`, and so of
    OMP_NUM_THREADS. There are more pieces than threads, and threads take them in turn, so one
    delayed thread does not delay the others.

    Each task of a kernel must write only to its own part of the output. The result is then bitwise
    independent of the number of threads and pieces.

    This uses Python threads over kernels that release the interpreter lock, not numba's prange:
    a viewer can render from its own thread during training (numba's fallback threading layer would
    kill the process), forking stays safe, and kernels compile in half the time.
    """
    count = _count if count is None else count
    threads = min(torch.get_num_threads() if count is None else count, tasks)
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
