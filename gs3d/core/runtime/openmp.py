"""How long torch's idle OpenMP threads spin before they sleep."""

import os

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
