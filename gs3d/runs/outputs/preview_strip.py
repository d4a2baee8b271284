"""progress.png: what there was of a run from time to time, from the same four sides, a row a moment, the oldest on top.

The sheet is its own memory: a text field of the file says of which moments its rows are, so that a resumed run goes on with them.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gs3d.core.cameras import ring
from gs3d.runs.outputs.files import BACKGROUND
from gs3d.distill.step import Task, TrainState, of_stage

SHEET = "progress.png"
SIDES, SIDE_PX, WORDS_PX = 4, 96, 100
ROWS = 10
"""Most rows of a sheet."""
SHARE = 0.01
"""Most of a run's time that pictures on the way may take."""
NOTE = "gs3d"
"""The text field: [[step, seconds], …], a pair a row."""


@dataclass(frozen=True)
class Row:
    """A moment of a run."""

    step: int
    """Iterations done."""
    elapsed_s: float
    pixels: np.ndarray
    """[SIDE_PX, WORDS_PX + SIDES · SIDE_PX, 3] uint8: words and pictures."""


class PreviewStrip:
    """Adds a row every `every_s` seconds (0: never), more seldom where that would take more than SHARE of the time."""

    def __init__(self, path: Path, every_s: float, say: Callable[[str], None]):
        self.path, self.every_s, self.say = path, every_s, say
        self.due = time.monotonic() + every_s if every_s else math.inf

    def look(self, state: TrainState, task: Task, elapsed_s: float) -> None:
        """After an iteration."""
        if time.monotonic() >= self.due:
            self.add(state, task, elapsed_s)

    def add(self, state: TrainState, task: Task, elapsed_s: float) -> None:
        """A row now, if there are any. Whatever goes wrong ends the pictures with a warning, not the run."""
        began = time.monotonic()
        if math.isinf(self.due):
            return
        try:
            add_row(self.path, state, task, elapsed_s)
        except Exception as error:  # memory or disk that is full: the run goes on without
            self.say(f"warning: {self.path.name}: {' '.join(str(error).split())}; the run goes on without pictures on the way")
            self.due = math.inf
            return
        now = time.monotonic()
        self.due = now + max(self.every_s, (now - began) / SHARE)


def add_row(path: Path, state: TrainState, task: Task, elapsed_s: float) -> None:
    """Add what there is now to the sheet, below the rows of earlier steps. Changes nothing about the run, and draws no random number."""
    rows = [row for row in read_rows(path) if row.step < state.step]
    write_rows(path, thinned([*rows, _row(state, task, elapsed_s)]))


@torch.no_grad()
def _row(state: TrainState, task: Task, elapsed_s: float) -> Row:
    from gs3d.io.image.pixels import to_bytes
    from gs3d.io.image.captions import row

    representation = state.representation
    cameras, background = ring(SIDES, SIDE_PX).to(representation.device), torch.tensor(BACKGROUND, device=representation.device)
    seen = representation.render(cameras, background, of_stage(state, task, state.progress)).rgb.cpu()
    sides = [to_bytes(Path(SHEET), side, f"side {i}") for i, side in enumerate(seen)]
    words = f"{int(elapsed_s // 60)}:{int(elapsed_s % 60):02d}\nstep {state.step}\n{len(representation)} {representation.counts}"
    return Row(state.step, elapsed_s, row(words, sides, WORDS_PX, font_px=12))


def thinned(rows: Sequence[Row]) -> list[Row]:
    """At most ROWS of them, evenly in time: the first and the last stay, and between them goes whose neighbors are nearest together."""
    rows = list(rows)
    while len(rows) > ROWS:
        apart = [after.elapsed_s - before.elapsed_s for before, after in zip(rows, rows[2:], strict=False)]
        del rows[1 + apart.index(min(apart))]
    return rows


def trim(path: Path, step: int) -> None:
    """Drop the rows of iterations that will be run again."""
    rows = read_rows(path)
    kept = [row for row in rows if row.step <= step]
    if kept and len(kept) < len(rows):
        write_rows(path, kept)
    elif not kept:
        path.unlink(missing_ok=True)  # also one that cannot be read


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """The sheet, whole or as it was."""
    from gs3d.io.image.png import write_pixels

    moments = json.dumps([[row.step, round(row.elapsed_s, 2)] for row in rows])
    write_pixels(path, np.concatenate([row.pixels for row in rows]), {NOTE: moments})


def read_rows(path: Path) -> list[Row]:
    """The rows of a sheet; none of a file that is missing, damaged or something else."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        with PngImageFile(path) as sheet:
            pixels, moments = np.asarray(sheet), json.loads(sheet.text[NOTE])
        strips = pixels.reshape(len(moments), SIDE_PX, WORDS_PX + SIDES * SIDE_PX, 3)
        return [Row(int(step), float(seconds), strip) for (step, seconds), strip in zip(moments, strips, strict=True)]
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):  # SyntaxError is what PIL says of a file that is no PNG
        return []
