"""A process that ends itself when it hangs. It imports nothing that could hang."""

import contextlib
import faulthandler
from collections.abc import Callable, Generator

STDERR = 2
"""Its file descriptor: `sys.stderr` need not have one."""
MOST_S = 1e8
"""The longest time; faulthandler takes no infinite one."""


@contextlib.contextmanager
def ending_if_silent(limit_s: float) -> Generator[Callable[[], None]]:
    """End this process, with status 1, if what this yields is not called for `limit_s` seconds.
    It prints where it hangs before that. For processes that no other one of gs3d watches.

    Time in which the process is stopped counts, as nothing in it can tell then.
    """

    def heard() -> None:
        # It ends the process even where no line of Python is run any more.
        faulthandler.dump_traceback_later(min(limit_s, MOST_S), exit=True, file=STDERR)

    heard()
    try:
        yield heard
    finally:
        faulthandler.cancel_dump_traceback_later()
