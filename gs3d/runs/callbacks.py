"""Events of a run and the callbacks that receive them."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from gs3d.core.errors import UserError
from gs3d.distill.budget import Budget
from gs3d.distill.state import TrainState
from gs3d.distill.step import StepLog
from gs3d.runs.signals import Command


@dataclass(frozen=True)
class Message:
    """A line for the user."""

    text: str
    is_warning: bool = False


def _ignore(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Callbacks:
    """What a run calls, in its own thread; the defaults do nothing.

    `on_message(message: Message)` gets lines for the user, `on_step(entry: StepLog, budget:
    Budget)` each iteration, and `control(state: TrainState)` returns how to continue.
    """

    on_message: Callable[[Message], None] = _ignore
    """Gets each message."""
    on_step: Callable[[StepLog, Budget], None] = _ignore
    """Called after every iteration."""
    control: Callable[[TrainState], Command] = lambda state: "continue"
    """Called after every iteration with the state, which it must not change. It returns how to
    continue; while it returns "pause" it is called again and the clock of the run stands still."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if not callable(value := getattr(self, field.name)):
                raise UserError(f"callbacks: {field.name}: expected a function, got {value!r}")

    def info(self, text: str) -> None:
        self.on_message(Message(text))

    def warn(self, text: str) -> None:
        self.on_message(Message(text, is_warning=True))
