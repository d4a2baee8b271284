"""How long torch's helper threads wait awake for their next piece of work."""

import os

SPINS = 10_000
"""Some tens of microseconds: longer than the gaps within a network, far shorter than a picture."""


def spin_briefly() -> None:
    """Let the threads of libgomp, which torch's Linux wheels bring, sleep soon after each parallel operation.

    By default they spin for milliseconds in case another comes, on the very cores that the rasterizer's threads then wait for: where there
    are only two, the second was worth nothing to it. Takes effect only before torch is imported; the user's own OMP_WAIT_POLICY or
    GOMP_SPINCOUNT stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
