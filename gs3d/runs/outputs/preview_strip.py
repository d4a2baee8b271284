"""progress.png, the preview strip: a run at several moments from four sides, one row each.

A text field of the file records the moments of its rows, so that a resumed run extends the strip.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from gs3d.core.cameras import ring
from gs3d.core.runtime import clock
from gs3d.core.views.inside import around
from gs3d.distill.state import Task, TrainState
from gs3d.distill.step import stage_progress
from gs3d.representations.base import Representation
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs.outputs.files import BACKGROUND

STRIP = "progress.png"
SIDES, SIDE_PX, WORDS_PX = 4, 96, 100
ROWS = 10
"""Largest number of rows."""
MOST_PIXELS = 2**24
"""Of a file that is read; its own have half a million."""
SHARE = 0.01
"""Largest share of a run's time that the strip may take."""
NOTE = "gs3d"
"""The text field: [[step, seconds], …], one pair a row."""


@dataclass(frozen=True)
class Row:
    """A run at one moment."""

    step: int
    """Iterations done."""
    elapsed_s: float
    pixels: np.ndarray
    """[SIDE_PX, WORDS_PX + SIDES · SIDE_PX, 3] uint8: text, then the renders."""


class PreviewStrip:
    """Adds a row every `every_s` seconds (0: never), or less often if that took more than SHARE of
    the time."""

    def __init__(self, path: Path, every_s: float, warn: Callable[[str], None]):
        self.path, self.every_s, self.warn = path, every_s, warn
        self.due = clock.now() + every_s if every_s else math.inf

    def update(self, state: TrainState, task: Task, elapsed_s: float) -> None:
        """Add a row if one is due. Called after every iteration."""
        if clock.now() >= self.due:
            self.add(state, task, elapsed_s)

    def add(self, state: TrainState, task: Task, elapsed_s: float) -> None:
        """Add a row now, unless the strip is off. An error ends the strip with a warning."""
        began = clock.now()
        if math.isinf(self.due):
            return
        try:
            add_row(self.path, state, task, elapsed_s)
        except Exception as error:  # such as full memory or disk: no reason to end the run
            reason = " ".join(str(error).split())
            self.warn(f"{self.path.name}: {reason}; the run continues without previews")
            self.due = math.inf
            return
        now = clock.now()
        self.due = now + max(self.every_s, (now - began) / SHARE)


def add_row(path: Path, state: TrainState, task: Task, elapsed_s: float) -> None:
    """Add the current state below the rows of earlier steps. Changes no state and draws no random
    number."""
    rows = [row for row in read_rows(path) if row.step < state.step]
    write_rows(path, thin_out([*rows, _row(state, task, elapsed_s)]))


@torch.no_grad()
def sides_of(representation: Representation, progress: float) -> list[np.ndarray]:
    """Render an object from SIDES sides, or a scene in SIDES directions, at `progress` of the
    stage, each uint8 [SIDE_PX, SIDE_PX, 3]."""
    from gs3d.io.image.pixels import to_bytes

    is_scene = isinstance(representation, Gaussians) and representation.is_scene
    cameras = (around if is_scene else ring)(SIDES, SIDE_PX).to(representation.device)
    background = torch.tensor(BACKGROUND, device=representation.device)
    renders = representation.render(cameras, background, progress).rgb.cpu()
    return [to_bytes(Path(STRIP), side, f"side {i}") for i, side in enumerate(renders)]


def _row(state: TrainState, task: Task, elapsed_s: float) -> Row:
    from gs3d.io.image.captions import row

    representation = state.representation
    sides = sides_of(representation, stage_progress(state, task, state.progress))
    clock = f"{int(elapsed_s // 60)}:{int(elapsed_s % 60):02d}"
    words = f"{clock}\nstep {state.step}\n{len(representation)} {representation.counts}"
    return Row(state.step, elapsed_s, row(words, sides, WORDS_PX, font_px=12))


def thin_out(rows: Sequence[Row]) -> list[Row]:
    """At most ROWS rows, spread evenly in time. Keeps the first and the last; of the others it
    drops the one whose neighbors are closest together, until few enough are left."""
    rows = list(rows)
    while len(rows) > ROWS:
        gaps = [b.elapsed_s - a.elapsed_s for a, b in zip(rows, rows[2:], strict=False)]
        del rows[1 + gaps.index(min(gaps))]
    return rows


def trim_strip(path: Path, step: int) -> None:
    """Drop the rows of iterations that a resumed run repeats."""
    rows = read_rows(path)
    kept = [row for row in rows if row.step <= step]
    if kept and len(kept) < len(rows):
        write_rows(path, kept)
    elif not kept:
        path.unlink(missing_ok=True)  # also a file that cannot be read


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write the strip. On an error the old file stays."""
    from gs3d.io.image.png import write_pixels

    moments = json.dumps([[row.step, round(row.elapsed_s, 2)] for row in rows])
    write_pixels(path, np.concatenate([row.pixels for row in rows]), {NOTE: moments})


def read_rows(path: Path) -> list[Row]:
    """The rows of a strip; none if the file is missing, damaged or something else."""
    from PIL.PngImagePlugin import PngImageFile

    try:
        with PngImageFile(path) as strip:
            if strip.width * strip.height > MOST_PIXELS:
                return []
            pixels, moments = np.asarray(strip), json.loads(strip.text[NOTE])
        parts = pixels.reshape(len(moments), SIDE_PX, WORDS_PX + SIDES * SIDE_PX, 3)
        return [
            Row(int(step), float(seconds), part)
            for (step, seconds), part in zip(moments, parts, strict=True)
        ]
    # PIL raises SyntaxError for a file that is no PNG.
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, RecursionError):
        return []
