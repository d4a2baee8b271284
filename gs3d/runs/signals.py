"""How a run is stopped early or paused: by signals, by its `control` callback, or from outside."""

import signal
import time
from collections.abc import Callable
from typing import Any, Literal, get_args

from gs3d.core.errors import UserError
from gs3d.core.runtime import clock
from gs3d.distill.budget import Budget
from gs3d.distill.state import TrainState

Command = Literal["continue", "pause", "stop"]
"""What `Callbacks.control` returns; "stop" has the effect of Ctrl-C."""
WAIT_S = 0.1


class StopSignals:
    """While open, Ctrl-C and SIGTERM set `name` instead of ending the process. A second Ctrl-C
    has its usual effect."""

    name: Literal["interrupted", "terminated"] | None = None
    signalled = False
    """Whether a signal came, also after the last iteration, while results are written."""

    def __init__(self, say: Callable[[str], None] = lambda text: None):
        self.say = say
        self._old: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        try:
            self._old = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread, which alone may set handlers
            self._old = {}
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _) -> None:
        self.signalled = True
        self.name = "interrupted" if number == signal.SIGINT else "terminated"
        signal.signal(number, self._old[number])
        self.say("stopping after this step, then exporting; press Ctrl-C again to leave without")


class Pauses:
    """Says when the process was stopped from outside, as by Ctrl-Z, and went on."""

    def __init__(self, say: Callable[[str], None]):
        self.say, self.told_s = say, clock.paused_s()

    def tell(self) -> None:
        """Say a line if there was a pause since the last call."""
        paused_s = clock.paused_s()
        if paused_s > self.told_s:
            self.say(f"paused for {paused_s - self.told_s:.0f} s, which does not count")
            self.told_s = paused_s


def apply_control(
    control: Callable[[TrainState], Command], state: TrainState, budget: Budget, stop: StopSignals
) -> None:
    """Call `control` and do what it returns. A signal ends a pause too."""
    command = control(state)
    if command not in get_args(Command):
        raise UserError(
            f"callbacks: control returned {command!r}; expected {' or '.join(get_args(Command))}"
        )
    if command == "pause":
        began = clock.now()
        while command == "pause" and not stop.name:
            time.sleep(WAIT_S)
            command = control(state)
        budget.exclude(clock.now() - began)
    if command == "stop" and not stop.name:
        stop.name = "interrupted"
