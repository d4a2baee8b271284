"""When a run with several seeds gives some of them up.

It is successive halving (Jamieson and Talwalkar 2016): after each round the better half goes on.
All objects that are left are at the same progress of the run, and share its iterations. So the best
one goes through the whole schedules, and has had fewer iterations in the rounds than after them.
"""

import math

from gs3d.distill.settings.stages import RunConfig

LAST = 0.5
"""Progress of a run at which one object is left."""


def last_of(config: RunConfig) -> float:
    """Progress at which one object is left: before a second stage begins."""
    return min(LAST, config.ends(0)[1])


def left_at(candidates: int, progress: float, last: float = LAST) -> int:
    """Number of objects, of `candidates`, that are left at `progress` of a run."""
    rounds = max((candidates - 1).bit_length(), 1)
    ended = min(math.floor(rounds * progress / last + 1e-9), rounds)
    return math.ceil(candidates / 2**ended)


def share_of_best(candidates: int, last: float = LAST) -> float:
    """Share of the iterations of a run that the best of `candidates` gets, in (0, 1]."""
    rounds = max((candidates - 1).bit_length(), 1)
    early = sum(1 / left_at(candidates, last * (i + 0.5) / rounds, last) for i in range(rounds))
    return last * early / rounds + 1 - last
