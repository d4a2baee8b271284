"""One thread at a time for what all threads of a process share.

That is torch's own state of random numbers, and the functions of torch that transformers and
diffusers replace while they load a model: whatever makes parameters meanwhile, in any thread, gets
some without memory, and two loads at once can leave the replacements in place.
"""

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def exclusive() -> Generator[None, None, None]:
    """Wait until no other thread is within, and keep others out."""
    with _lock:
        yield


def _after_fork() -> None:
    """Give the child a lock of its own: the thread that held that of the parent is not in it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
