"""What `gs3d batch` prints while it works: a live table on a terminal, or plain lines elsewhere."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gs3d.batch.shown.tally import Tally
from gs3d.batch.workers.job import Event
from gs3d.cli.output import say, silence
from gs3d.core.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EVERY_S = 30.0
"""Seconds between two plain lines about a batch that nothing happens in."""
DRAW_S = 0.25
"""Least seconds between two versions of the table."""
MOST_RUNNING = 16
"""Running rows in the table."""


@dataclass(frozen=True)
class Seen:
    """How far a running row was when it was first heard of, and the last time."""

    step: int
    time_s: float
    last_step: int
    last_s: float

    @property
    def rate(self) -> float | None:
        """Iterations a second; None before the second time."""
        passed = self.last_s - self.time_s
        return (self.last_step - self.step) / passed if passed > 0 else None


class Lines:
    """Prints a line for each row that ends, and now and then one about the whole."""

    def __init__(self) -> None:
        self.tally: Tally | None = None
        self._said = time.monotonic()

    def update(self, event: Event, tally: Tally) -> None:
        """Show an event."""
        self.tally = tally
        if (line := line_of(event, tally)) is not None:
            self.say(line)
        elif time.monotonic() - self._said >= EVERY_S:
            running = [e for e in tally.entries.values() if e.state == "running"]
            parts = ", ".join(f"{e.name} {100 * e.progress:.0f} %" for e in running[:MOST_RUNNING])
            self.say(
                f"{tally.count('done')} of {tally.total} done; {parts}{left(tally.seconds_left)}"
            )

    def say(self, line: str) -> None:
        """Print a line."""
        self._said = time.monotonic()
        say(line)

    def close(self) -> None:
        """Leave the terminal as it was."""


class Table(Lines):
    """The lines of rows that end, above a table of those that run."""

    def __init__(self, console: "Console | None" = None):
        from rich.live import Live

        super().__init__()
        # Drawn by `update` alone: in rich's own thread, nobody could catch the error that a closed
        # terminal raises.
        self._live: Live | None = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()
        self._seen: dict[str, Seen] = {}
        self._drawn = 0.0

    def update(self, event: Event, tally: Tally) -> None:
        self.tally = tally
        name, now = event.row.row.name, time.monotonic()
        if event.kind == "step":
            step = event.values["step"]
            before = self._seen.get(name, Seen(step, now, step, now))
            self._seen[name] = replace(before, last_step=step, last_s=now)
        elif event.kind != "warning":
            self._seen.pop(name, None)
        if (line := line_of(event, tally)) is not None:
            self.say(line)
        if self._live is not None and now - self._drawn >= DRAW_S:
            self._drawn = now
            with self._kept_open():
                self._live.update(self._table(tally, now), refresh=True)

    def say(self, line: str) -> None:
        if self._live is None:
            super().say(line)
            return
        with self._kept_open():
            text = printable(line)
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(OSError):
                live.stop()

    @contextlib.contextmanager
    def _kept_open(self) -> Iterator[None]:
        """After an error, such as a closed terminal, nothing is written, and the batch goes on."""
        try:
            yield
        except OSError:
            silence()
            self.close()
        except RuntimeError:
            return  # as in `output.say`: a signal came while this was writing, and says something

    def _table(self, tally: Tally, now: float) -> "RenderableType":
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid.grid(padding=(0, 2), expand=False)
        running = [e for e in tally.entries.values() if e.state == "running"]
        for entry in running[:MOST_RUNNING]:
            bar = ProgressBar(total=1.0, completed=entry.progress, width=20)
            seen = self._seen.get(entry.name)
            known = None if seen is None else seen.rate
            rate = "" if known is None else f"{known:.1f} it/s"
            share = f"{100 * entry.progress:3.0f} %"
            grid.add_row(bar, share, f"step {entry.steps}", rate, Text(entry.name))
        if len(running) > MOST_RUNNING:
            grid.add_row("", "", "", "", f"and {len(running) - MOST_RUNNING} more")
        return Group(grid, Text(whole(tally, now)))


def lines() -> Lines:
    """What fits where this is printed."""
    from rich.console import Console

    console = Console()
    return Table(console) if console.is_terminal and not console.is_dumb_terminal else Lines()


def line_of(event: Event, tally: Tally) -> str | None:
    """The line about an event; None for one that has none."""
    name, values = event.row.row.name, event.values
    entry = tally.entries[name]
    ended = f"{tally.count('done', 'failed', 'stopped')}/{tally.total}  {name}"
    if event.kind == "failed":
        return f"{ended}: failed: {entry.reason}"
    if event.kind == "ended":
        what = f"{entry.pieces} splats or triangles in {entry.seconds:.0f} s, {entry.steps} steps"
        return f"{ended}: {entry.reason or entry.state}: {what}{left(tally.seconds_left)}"
    if event.kind == "lost":
        return f"{name}: its worker ended ({values['reason']}); another one goes on"
    if event.kind == "warning":
        return f"warning: {name}: {values['text']}"
    return None


def whole(tally: Tally, now: float) -> str:
    """The whole batch in a line: rows by state, rows an hour, and the time left."""
    states = ("done", "failed", "stopped", "running", "waiting")
    parts = [f"{tally.count(state)} {state}" for state in states if tally.count(state)]
    made = tally.count("done") - tally.done_before
    if made > 0:
        parts.append(per_hour(made / max(now - tally.began, 1e-9)))
    return ", ".join(parts) + left(tally.seconds_left)


def per_hour(rows_per_s: float) -> str:
    return f"{3600 * rows_per_s:.3g} rows an hour"


def left(seconds: float | None) -> str:
    """The end of a line: how long the rest will take, if that is known."""
    if not seconds:
        return ""
    if seconds < 60:
        return f"; about {seconds:.0f} s left"
    minutes = seconds / 60
    return (
        f"; about {minutes / 60:.1f} h left" if minutes >= 90 else f"; about {minutes:.0f} min left"
    )
