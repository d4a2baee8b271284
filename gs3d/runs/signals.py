"""What ends a run before its time, or makes it wait: signals, and whoever watches it."""

import signal
import time
from collections.abc import Callable
from typing import Literal

from gs3d.distill.budget import Budget
from gs3d.distill.step import TrainState

Wish = Literal["go on", "wait", "stop"]
"""Of whoever watches a run; "stop" is what Ctrl-C is."""
WAIT_S = 0.1


class StopSignals:
    """While open, Ctrl-C and SIGTERM set `name` instead of ending the process; a second Ctrl-C does what it always did."""

    name: Literal["interrupted", "terminated"] | None = None
    signalled = False
    """Whether a signal came; also after the last iteration, while results are written."""

    def __init__(self, say: Callable[[str], None] = lambda line: None):
        self.say = say

    def __enter__(self) -> "StopSignals":
        try:
            self._old = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: the caller keeps its own way to stop
            self._old = {}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _note(self, number: int, _) -> None:
        self.signalled = True
        self.name = "interrupted" if number == signal.SIGINT else "terminated"
        signal.signal(number, self._old[number])
        self.say("stopping after this step, then exporting; press Ctrl-C again to leave without")


def obey(
    watch: Callable[[TrainState], Wish], state: TrainState, budget: Budget, stop: StopSignals
) -> None:
    """Do as `watch` wishes. Waiting ends with a signal too."""
    if (wish := watch(state)) == "wait":
        began = time.monotonic()
        while wish == "wait" and not stop.name:
            time.sleep(WAIT_S)
            wish = watch(state)
        budget.exclude(time.monotonic() - began)
    if wish == "stop" and not stop.name:
        stop.name = "interrupted"
