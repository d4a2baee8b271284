"""candidates-1.png and so on: the objects at the end of each round, one row each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gs3d.distill.state import Particle, Round
from gs3d.runs.outputs.preview_strip import WORDS_PX, sides_of


def write_round(
    folder: Path, number: int, particles: Sequence[Particle], found: Round, progress: float
) -> None:
    """Write the picture of the round with this number, from 1. `progress` is that of the stage."""
    from gs3d.io.image.captions import row
    from gs3d.io.image.png import write_pixels

    rows = [
        row(_words(p.number, found), sides_of(p.representation, progress), WORDS_PX, font_px=12)
        for p in particles
    ]
    write_pixels(folder / f"candidates-{number}.png", np.concatenate(rows), {})


def _words(number: int, found: Round) -> str:
    what = "goes on" if number in found.kept else "given up"
    return f"number {number}\nscore {found.scores[number]:.3f}\n{what}"
