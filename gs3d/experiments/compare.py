"""Comparison of finished runs, rendered from the same cameras.

Writes a contact sheet with one row per run (PNG), a turntable of all runs side by side (MP4), or a
page with sliders (HTML).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gs3d.core.cameras import ring
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.experiments.names import method_names
from gs3d.io import load_asset
from gs3d.io.image.captions import broken, row, written
from gs3d.io.image.pixels import to_bytes
from gs3d.representations.asset import Asset, primitive_count
from gs3d.runs.history import read_record
from gs3d.runs.outputs.files import TURNTABLE_FPS, frames

VIEWS = 8
"""Views of each run in the sheet and the page."""
FRAMES, COLUMNS = 120, 4
"""Frames of the turntable, and largest number of runs in one of its rows."""
WORDS_PX, HEAD_PX = 232, 64
"""Width of the text beside a row of the sheet, and height of the text above a turntable."""
LETTER_PX = 6.8
"""Average width of a letter, rounded up."""


@dataclass(frozen=True)
class Side:
    """One of the compared runs."""

    folder: Path
    prompt: str
    method: str
    """Guidance loss, and the settings in which runs with that loss differ."""
    seed: int
    seconds: float
    """Wall-clock time of the run."""
    asset: Asset
    particle: int | None = None
    """Which of the objects of its run it is; None if the run has one."""

    @property
    def wrappable_method(self) -> str:
        """`method` with a space after each comma, so that it can be wrapped."""
        return self.method.replace(",", ", ")

    @property
    def taken(self) -> str:
        """Seed, time and size of the result, such as "seed 0, 120 s, 2900 splats", and which of
        several particles it is."""
        kind = "splats" if isinstance(self.asset, Splats) else "triangles"
        one = f", particle {self.particle}" if self.particle else ""
        return f"seed {self.seed}{one}, {self.seconds:.0f} s, {primitive_count(self.asset)} {kind}"


def sides_of(folders: Sequence[Path]) -> list[Side]:
    """Load the runs in `folders`. A folder that is given twice counts once.

    Raises:
        UserError: Fewer than two folders are left, or one does not hold a finished run.
    """
    folders = list(dict.fromkeys(Path(os.path.normpath(folder)) for folder in folders))
    if len(folders) < 2:
        raise UserError(
            f"RUN: expected the folders of two runs or more, got {len(folders)}; "
            "see gs3d compare --help"
        )
    records = []
    for folder in folders:
        record = read_record(folder)
        if record is None:
            raise UserError(
                f"{folder}: expected the folder of a run that has ended "
                "(run.yaml, and splats.ply or mesh.glb in it)"
            )
        records.append(record)
    sides = []
    for folder, record, method in zip(
        folders, records, method_names(records, of_all=True), strict=True
    ):
        seconds = sum(record["timings_s"].values())
        asset = load_asset(folder)
        particle = record.get("particle", 1) if "particles" in record else None
        facts = (record["prompt"], method, record["seed"], seconds, asset, particle)
        sides.append(Side(folder, *facts))
    return sides


def write_sheet(path: Path, sides: Sequence[Side], size_px: int, elevation_deg: float) -> None:
    """Write a PNG with one row per run: prompt, method, seed and time, then VIEWS views around it.

    Each view is `size_px` wide and high.
    """
    from gs3d.io.image.png import write_pixels

    rows = []
    for side in sides:
        letters = int(WORDS_PX / LETTER_PX)
        lines = [
            *broken(side.prompt, letters, 3),
            *broken(side.wrappable_method, letters, 5),
            *broken(side.taken, letters),
        ]
        rows.append(row("\n".join(lines), _views(path, side, size_px, elevation_deg), WORDS_PX))
    write_pixels(path, np.concatenate(rows))


def _views(path: Path, side: Side, size_px: int, elevation_deg: float) -> list[np.ndarray]:
    """Render the VIEWS views of a run, each uint8 [size_px, size_px, 3]."""
    renders = frames(side.asset, ring(VIEWS, size_px, elevation_deg))
    return [to_bytes(path, view, f"view {i} of {side.folder}") for i, view in enumerate(renders)]


def write_turntable(path: Path, sides: Sequence[Side], size_px: int, elevation_deg: float) -> None:
    """Write an MP4 turntable of all runs side by side, at most COLUMNS per row.

    The prompt and method of each run are above its views, which are `size_px` wide and high.
    """
    from gs3d.io.image.mp4 import write_video

    cameras, letters = ring(FRAMES, size_px, elevation_deg), int(size_px / LETTER_PX)
    captions = [
        "\n".join([*broken(side.prompt, letters), *broken(side.wrappable_method, letters)])
        for side in sides
    ]
    heads = [(written(text, size_px, HEAD_PX) / 255).astype(np.float32) for text in captions]

    def video_frames() -> Iterator[np.ndarray]:
        for views in zip(*(frames(side.asset, cameras) for side in sides), strict=True):
            tiles = [np.concatenate([head, view]) for head, view in zip(heads, views, strict=True)]
            tiles += [np.ones_like(tiles[0])] * (-len(tiles) % min(COLUMNS, len(tiles)))
            starts = range(0, len(tiles), COLUMNS)
            yield np.concatenate([np.concatenate(tiles[i : i + COLUMNS], axis=1) for i in starts])

    write_video(path, video_frames(), fps=TURNTABLE_FPS)


def write_page(path: Path, sides: Sequence[Side], size_px: int, elevation_deg: float) -> None:
    """Write an HTML page: a table of the runs, and a slider between the first and each other run.

    The views are `size_px` wide and high.
    """
    from gs3d.io.html.compare import write_comparison
    from gs3d.io.html.slider import strip

    same_prompt = len({side.prompt for side in sides}) == 1
    names = [side.method if same_prompt else f"{side.prompt}, {side.method}" for side in sides]
    # Runs without any difference are distinguished by their folders.
    names = [
        name if names.count(name) == 1 else f"{name} ({side.folder})"
        for name, side in zip(names, sides, strict=True)
    ]
    facts = [
        {
            "run": str(side.folder),
            "prompt": side.prompt,
            "method": side.method,
            "result": side.taken,
        }
        for side in sides
    ]
    strips = [strip(_views(path, side, size_px, elevation_deg)) for side in sides]
    write_comparison(path, facts, names, strips, size_px)


WRITERS = {".png": write_sheet, ".mp4": write_turntable, ".html": write_page}
