"""Ctrl-C while something is imported."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def deferred() -> Generator[None, None, None]:
    """Let Ctrl-C wait until the end of the block.

    An import of torch or numba that is broken off cannot be repeated in the same process: their
    compiled halves are registered once.
    """
    old = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or old is None or old == signal.SIG_IGN:
        yield
        return
    came: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, old)
        if came:
            signal.raise_signal(signal.SIGINT)
