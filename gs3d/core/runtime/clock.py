"""A clock that stands still while this process is stopped: by SIGSTOP, Ctrl-Z, a frozen container.

`time.monotonic` already stands still while Linux or macOS sleeps, but goes on while a process is
stopped. Nobody tells a process that it was stopped, so a thread looks at the time four times a
second. A thread that comes late may also have waited for a processor, on a busy machine, or for
the interpreter's lock, which some compiled code holds for seconds. Linux counts both for each
thread: the seconds that it waited for a processor, and the times that it got one, which a thread
that waits for the lock does every few milliseconds. What is left was a pause. Waiting for a GPU, a
disk or a download is none: the thread goes on meanwhile. Processor time would not tell them apart,
because a process that waits for a GPU may use as little as one that is stopped.

On systems without these counts, pauses are not noticed and count like other time.
"""

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path

TICK_S = 0.25
LATE_S = 1.0
"""A look at the clock so long after the last tick waits for the next one, which tells whether
there was a pause."""
WAIT_S = 10.0
"""The longest wait for it. After a pause the system may have to read the process from disk."""
SHORTEST_S = 2.0
"""Shorter pauses count like other time."""
STATISTICS = Path("/proc/thread-self/schedstat")
"""Of the thread that reads it: nanoseconds on a processor, nanoseconds of waiting for one, and the
times that it got one."""

_lock = threading.Lock()
_users = 0
_thread: threading.Thread | None = None
_ended = threading.Event()
_ticked = threading.Condition()
_state = (math.inf, 0.0)
"""time.monotonic() at the last tick, infinite without a thread, and seconds of all pauses so far.
One tuple, so that a reader gets both of the same moment."""


def _forget_thread() -> None:
    """Reset in a forked child, because threads do not survive a fork."""
    global _lock, _users, _thread, _ticked, _state
    _lock, _users, _thread = threading.Lock(), 0, None
    _ticked, _state = threading.Condition(), (math.inf, _state[1])


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_thread)


def now() -> float:
    """time.monotonic() less the seconds of all pauses that were noticed in this process."""
    moment, paused = _read()
    return moment - paused


def paused_s() -> float:
    """Seconds of all pauses so far in this process."""
    return _read()[1]


def _read() -> tuple[float, float]:
    """time.monotonic(), and seconds of all pauses until then."""
    while True:
        last, paused = _state
        moment = time.monotonic()
        # A thread that goes on after a pause may be here before the one that ticks.
        if moment - last <= LATE_S or not _next_tick(last):
            return moment, paused


@contextlib.contextmanager
def noticing_pauses() -> Generator[None, None, None]:
    """Notice pauses in the block. Blocks may be nested, and open in several threads."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _users, _thread, _ended, _state
    with _lock:
        _users += 1
        if _users == 1:
            _ended, _state = threading.Event(), (time.monotonic(), _state[1])
            _thread = threading.Thread(target=_tick, args=(_ended,), daemon=True)
            _thread.start()


def _leave() -> None:
    global _users, _thread, _state
    with _lock:
        _read()  # waits for the tick after a pause that has just ended
        _users = max(_users - 1, 0)  # 0 already in a child that was forked in the block
        if _users == 0 and _thread is not None:
            _ended.set()
            _thread.join()
            _thread, _state = None, (math.inf, _state[1])


def _tick(ended: threading.Event) -> None:
    """Update `_state` until the end, or at once leave it for good where waiting is not counted."""
    global _state
    waited = _waited_s()
    while waited is not None and not ended.wait(TICK_S):
        before, waited = waited, _waited_s()
        last, paused = _state
        moment = time.monotonic()
        if waited is not None:
            gap = moment - last - TICK_S - (waited - before)
            with _ticked:
                _state = moment, paused + (gap if gap >= SHORTEST_S else 0.0)
                _ticked.notify_all()
    with _ticked:
        _state = math.inf, _state[1]
        _ticked.notify_all()


def _waited_s() -> float | None:
    """Seconds that this thread has waited for a processor or the interpreter's lock so far; None
    where the system does not count them."""
    try:
        _, waiting_ns, times = map(int, STATISTICS.read_text().split())
    except (OSError, ValueError):
        return None
    return waiting_ns / 1e9 + times * sys.getswitchinterval() if times else None


def _next_tick(last: float) -> bool:
    """Wait for the tick after the one at `last`; False if none comes."""
    thread = _thread
    with _ticked:
        return (
            thread is not None
            and thread.is_alive()
            and _ticked.wait_for(lambda: _state[0] != last, timeout=WAIT_S)
        )
