"""What several runs have made, seen by the same cameras: a sheet with a row a run, a turntable side by side, a page with sliders."""

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

VIEWS, FRAMES, COLUMNS = 8, 120, 4
"""Pictures of a run on the sheet and the page, frames of the turntable, and runs side by side there before the next line."""
WORDS_PX, HEAD_PX = 232, 64
LETTER_PX = 6.8
"""Width of a letter, with some room."""


@dataclass(frozen=True)
class Side:
    """A run among those that are compared."""

    folder: Path
    prompt: str
    method: str
    """Its loss, and its settings where runs of that loss differ."""
    seed: int
    seconds: float
    asset: Asset

    @property
    def says(self) -> str:
        """`method`, so that it can be broken into lines."""
        return self.method.replace(",", ", ")

    @property
    def taken(self) -> str:
        kind = "splats" if isinstance(self.asset, Splats) else "triangles"
        return f"seed {self.seed}, {self.seconds:.0f} s, {primitive_count(self.asset)} {kind}"


def sides_of(folders: Sequence[Path]) -> list[Side]:
    """The runs in two folders or more, a folder that is named twice once. `UserError` for one that holds no run that has ended."""
    folders = list(dict.fromkeys(Path(os.path.normpath(folder)) for folder in folders))
    if len(folders) < 2:
        raise UserError(
            f"RUN: expected the folders of two runs or more, got {len(folders)}; see gs3d compare --help"
        )
    records = []
    for folder in folders:
        record = read_record(folder)
        if record is None:
            raise UserError(
                f"{folder}: expected the folder of a run that has ended (run.yaml, and splats.ply or mesh.glb in it)"
            )
        records.append(record)
    return [
        Side(
            folder,
            record["prompt"],
            method,
            record["seed"],
            sum(record["timings_s"].values()),
            load_asset(folder),
        )
        for folder, record, method in zip(
            folders, records, method_names(records, of_all=True), strict=True
        )
    ]


def write_sheet(path: Path, sides: Sequence[Side], size_px: int, elevation_deg: float) -> None:
    """A PNG with a row a run: prompt, method and seconds, and the views from all round."""
    from gs3d.io.image.png import write_pixels

    rows = []
    for side in sides:
        letters = int(WORDS_PX / LETTER_PX)
        words = [
            *broken(side.prompt, letters, 3),
            *broken(side.says, letters, 5),
            *broken(side.taken, letters),
        ]
        rows.append(row("\n".join(words), _views(path, side, size_px, elevation_deg), WORDS_PX))
    write_pixels(path, np.concatenate(rows))


def _views(path: Path, side: Side, size_px: int, elevation_deg: float) -> list[np.ndarray]:
    """[size_px, size_px, 3] uint8 each."""
    seen = frames(side.asset, ring(VIEWS, size_px, elevation_deg))
    return [to_bytes(path, view, f"view {i} of {side.folder}") for i, view in enumerate(seen)]


def write_turntable(path: Path, sides: Sequence[Side], size_px: int, elevation_deg: float) -> None:
    """An MP4 of all of them turning together, their names above them, COLUMNS a line."""
    from gs3d.io.image.mp4 import write_video

    cameras, letters = ring(FRAMES, size_px, elevation_deg), int(size_px / LETTER_PX)
    words = [
        "\n".join([*broken(side.prompt, letters), *broken(side.says, letters)]) for side in sides
    ]
    heads = [(written(text, size_px, HEAD_PX) / 255).astype(np.float32) for text in words]

    def together() -> Iterator[np.ndarray]:
        for seen in zip(*(frames(side.asset, cameras) for side in sides), strict=True):
            tiles = [np.concatenate([head, view]) for head, view in zip(heads, seen, strict=True)]
            tiles += [np.ones_like(tiles[0])] * (-len(tiles) % min(COLUMNS, len(tiles)))
            yield np.concatenate(
                [
                    np.concatenate(tiles[i : i + COLUMNS], axis=1)
                    for i in range(0, len(tiles), COLUMNS)
                ]
            )

    write_video(path, together(), fps=TURNTABLE_FPS)


def write_page(path: Path, sides: Sequence[Side], size_px: int, elevation_deg: float) -> None:
    """An .html: what the runs are, and a slider from the first to each other."""
    from gs3d.io.html.compare import write_comparison
    from gs3d.io.html.slider import strip

    same_prompt = len({side.prompt for side in sides}) == 1
    names = [side.method if same_prompt else f"{side.prompt}, {side.method}" for side in sides]
    # Runs that differ in nothing else differ in where they are.
    names = [
        name if names.count(name) == 1 else f"{name} ({side.folder})"
        for name, side in zip(names, sides, strict=True)
    ]
    facts = [
        {"run": str(side.folder), "prompt": side.prompt, "method": side.method, "made": side.taken}
        for side in sides
    ]
    strips = [strip(_views(path, side, size_px, elevation_deg)) for side in sides]
    write_comparison(path, facts, names, strips, size_px)


WRITERS = {".png": write_sheet, ".mp4": write_turntable, ".html": write_page}
