"""Before whom a run is made."""

from collections.abc import Callable
from dataclasses import dataclass

from gs3d.distill.budget import Budget
from gs3d.distill.step import StepLog, TrainState
from gs3d.runs.signals import Wish


@dataclass(frozen=True)
class Callbacks:
    """What they are told, and how they may interfere; by default nobody is there."""

    report: Callable[[StepLog, Budget], None] = lambda entry, budget: None
    """After every iteration."""
    say: Callable[[str], None] = lambda line: None
    """Lines for a person; those that begin with "warning: " are warnings."""
    watch: Callable[[TrainState], Wish] = lambda state: "go on"
    """Sees the state after every iteration, changes nothing about it, and says how to go on; while it says "wait" it is asked again."""
