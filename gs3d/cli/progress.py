"""How a run looks on a terminal: a live line through rich, or plain lines where the output is no terminal."""

import contextlib
import sys
import time
from collections.abc import Callable

from gs3d.cli.output import say, silence
from gs3d.distill.budget import Budget
from gs3d.distill.step import StepLog

PLAIN_EVERY_S = 10.0


def memory_gb() -> float:
    """Peak memory of this process in GB, or of the GPU where one is used."""
    import torch

    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e9
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


class Progress:
    """Iterations a second, time left, splats, loss, gradient size and memory. Output that cannot be written is no reason to end a run."""

    def __init__(self) -> None:
        self._live = None
        self._times: list[tuple[float, int]] = []
        self._printed = 0.0

    def __enter__(self) -> "Progress":
        if sys.stdout is not None and sys.stdout.isatty():
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Rich

            columns = (
                BarColumn(),
                TextColumn("{task.percentage:3.0f}%"),
                TextColumn("{task.description}"),
            )
            # Drawn by `update` alone: in rich's own thread, a terminal that has gone would be an error that nobody can catch.
            self._live = Rich(*columns, transient=True, auto_refresh=False)
            self._task = self._live.add_task("starting", total=1.0)
            self._draw(self._live.start)
        return self

    def __exit__(self, *_) -> None:
        if self._live:
            self._draw(self._live.stop)
            self._live = None

    def _draw(self, action: Callable, *args, **options) -> None:
        """Let rich write; a terminal that has gone must not end the run, so from then on nothing is written."""
        try:
            action(*args, **options)
        except OSError:
            silence()
            live, self._live = self._live, None
            with contextlib.suppress(
                OSError
            ):  # rich took standard error too, and gives it back here
                live.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._live:
            self._draw(
                self._live.console.print, line, markup=False, highlight=False, soft_wrap=True
            )
        else:
            say(line)

    def update(self, entry: StepLog, budget: Budget) -> None:
        """After every iteration; shows something a few times a second, or every ten seconds in plain lines."""
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
            left = max(budget.seconds - budget.elapsed_s(), 0.0)
        text = (
            f"step {entry.step}  {rate:.1f} it/s  {_clock(left)} left  {entry.count} {entry.counts}  "
            f"loss {float(entry.loss):.3g}  gradient {float(entry.grad_norm):.3g}  {memory_gb():.1f} GB"
        )
        if self._live:
            self._draw(
                self._live.update,
                self._task,
                completed=entry.progress,
                description=text,
                refresh=True,
            )
        else:
            say(f"{100 * entry.progress:3.0f}%  {text}")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}" if seconds == seconds else "?"
