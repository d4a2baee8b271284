"""How many OpenMP threads torch has, and how long they spin before they sleep."""

import math
import os

from gs3d.core.runtime.quota import cpu_quota

SPIN_COUNT = 10_000
"""A few tens of microseconds: longer than the gaps between operations of a network, and much
shorter than one render."""


def spin_briefly() -> None:
    """Make the threads of libgomp, which torch's Linux wheels contain, sleep soon when idle.

    By default they spin for milliseconds after each parallel operation and occupy the cores that
    the rasterizer's threads need. On a machine with two cores, the rasterizer then gains nothing
    from the second one. Call this before torch is imported; later calls have no effect. An
    OMP_WAIT_POLICY or GOMP_SPINCOUNT set by the user takes precedence.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))


def keep_to_quota() -> None:
    """Let torch have no more threads than this container has processors, rounded up.

    It would have one for each core that is there, and they would stop each other. Call this before
    torch is imported. An OMP_NUM_THREADS set by the user takes precedence.
    """
    quota = cpu_quota()
    if quota is not None and quota < (os.cpu_count() or 1):
        os.environ.setdefault("OMP_NUM_THREADS", str(math.ceil(quota)))
