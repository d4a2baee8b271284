"""How a run looks on a terminal: a live line through rich, or plain lines where the output is no terminal."""

import sys
import time

from gs3d.training.budget import Budget
from gs3d.training.step import StepLog

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
    """Iterations a second, time left, splats, gradient size and memory."""

    def __init__(self) -> None:
        self._live = None
        self._times: list[tuple[float, int]] = []
        self._printed = 0.0

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty():
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Rich

            columns = (BarColumn(), TextColumn("{task.percentage:3.0f}%"), TextColumn("{task.description}"))
            self._live = Rich(*columns, transient=True)
            self._live.start()
            self._task = self._live.add_task("starting", total=1.0)
        return self

    def __exit__(self, *_) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """A line that stays."""
        if self._live:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)

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
            f"step {entry.step}  {rate:.1f} it/s  {_clock(left)} left  {entry.count} splats  "
            f"gradient {float(entry.grad_norm):.3g}  {memory_gb():.1f} GB"
        )
        if self._live:
            self._live.update(self._task, completed=entry.progress, description=text)
        else:
            print(f"{100 * entry.progress:3.0f}%  {text}", flush=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}" if seconds == seconds else "?"
