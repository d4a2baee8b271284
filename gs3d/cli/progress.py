"""Progress of a run on a terminal: a live line through rich, or plain lines elsewhere."""

import contextlib
import itertools
import sys
import time
from collections.abc import Callable, Sequence

from gs3d.cli.output import say, silence
from gs3d.distill.budget import Budget
from gs3d.distill.state import TrainState
from gs3d.distill.step import StepLog
from gs3d.runs.callbacks import Callbacks, Message
from gs3d.runs.signals import Command

PLAIN_EVERY_S = 10.0
BAR = 20
"""Characters of the live bar."""


def memory_gb() -> float:
    """Peak memory in GB of the fullest GPU if one is used, else of this process."""
    import torch

    if torch.cuda.is_initialized():
        devices = range(torch.cuda.device_count())
        return max(torch.cuda.max_memory_allocated(device) for device in devices) / 1e9
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


class Progress:
    """Shows iterations a second, time left, number of splats, loss, gradient norm and memory.

    Output that cannot be written does not end a run.
    """

    def __init__(self) -> None:
        self._live = None
        self._times: list[tuple[float, int]] = []
        self._printed = 0.0

    def __enter__(self) -> "Progress":
        if sys.stdout is not None and sys.stdout.isatty():
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Rich
            from rich.table import Column

            columns = (
                BarColumn(BAR),
                TextColumn("{task.percentage:3.0f}%"),
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            )
            # Drawn by `update` alone: in rich's own thread, nobody could catch the error that a
            # closed terminal raises.
            self._live = Rich(*columns, transient=True, auto_refresh=False)
            self._task = self._live.add_task("starting", total=1.0)
            self._draw(self._live.start)
        return self

    def __exit__(self, *_) -> None:
        if self._live:
            self._draw(self._live.stop)
            self._live = None

    def _draw(self, action: Callable, *args, **options) -> None:
        """Let rich write. After an error, such as a closed terminal, nothing is written."""
        try:
            action(*args, **options)
        except OSError:
            silence()
            live, self._live = self._live, None
            assert live is not None
            # rich replaced standard error too, and restores it here.
            with contextlib.suppress(OSError):
                live.stop()

    def callbacks(self, control: Callable[[TrainState], Command] | None = None) -> Callbacks:
        """Callbacks that show a run here."""
        more = {} if control is None else {"control": control}
        return Callbacks(on_message=self._show, on_step=self.update, **more)

    def _show(self, message: Message) -> None:
        self.say(f"warning: {message.text}" if message.is_warning else message.text)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if self._live:
            self._draw(
                self._live.console.print, line, markup=False, highlight=False, soft_wrap=True
            )
        else:
            say(line)

    def update(self, entry: StepLog, budget: Budget) -> None:
        """Show an iteration: a few times a second live, or every ten seconds in plain lines."""
        now = time.monotonic()
        if now - self._printed < (0.25 if self._live else PLAIN_EVERY_S):
            return
        self._printed = now
        self._times = [*self._times[-20:], (now, entry.step)]
        (_, first), passed = self._times[0], now - self._times[0][0]
        rate = (entry.step - first) / passed if passed > 0 else 0.0
        if budget.steps is not None:
            left = (budget.steps - entry.step) / rate if rate else float("nan")
        else:
            assert budget.seconds is not None
            left = max(budget.seconds - budget.elapsed_s(), 0.0)
        parts = (
            f"step {entry.step}",
            f"{rate:.1f} it/s",
            f"{_clock(left)} left",
            f"{entry.count} {entry.counts}",
            f"loss {float(entry.loss):.3g}",
            f"gradient {float(entry.grad_norm):.3g}",
            f"{memory_gb():.1f} GB",
        )
        if self._live:
            text = fitting(parts, self._live.console.width - BAR - len(" 100% "))
            self._draw(
                self._live.update,
                self._task,
                completed=entry.progress,
                description=text,
                refresh=True,
            )
        else:
            say(f"{100 * entry.progress:3.0f}%  {'  '.join(parts)}")


def fitting(parts: Sequence[str], width: int) -> str:
    """As many of the parts as fit into so many characters, and at least the first."""
    lengths = itertools.accumulate(len(part) + 2 for part in parts)
    count = sum(length - 2 <= width for length in lengths)
    return "  ".join(parts[: max(count, 1)])


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}" if seconds == seconds else "?"
