"""How a run is stopped early or paused: by signals, and by its `control` callback."""

import signal
import time
from collections.abc import Callable
from typing import Any, Literal, get_args

from gs3d.core.errors import UserError
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
        began = time.monotonic()
        while command == "pause" and not stop.name:
            time.sleep(WAIT_S)
            command = control(state)
        budget.exclude(time.monotonic() - began)
    if command == "stop" and not stop.name:
        stop.name = "interrupted"
