"""The picture of a row in the gallery: its views all around, side by side."""

import traceback
from collections.abc import Callable
from pathlib import Path

from gs3d.io.atomic import write_atomic
from gs3d.representations.asset import Asset

STRIP = "strip.webp"
"""File of the picture, in the folder of the row."""


def write_strip(folder: Path, asset: Asset) -> None:
    """Write the strip of a result. A picture that fails is no reason for a row to."""
    _attempt(folder, lambda: asset)


def write_missing_strip(folder: Path) -> None:
    """Write the strip of a row that ended without one, as one that was stopped at its very end."""
    from gs3d.io import load_asset

    if not (folder / STRIP).exists():
        _attempt(folder, lambda: load_asset(folder))


def _attempt(folder: Path, asset: Callable[[], Asset]) -> None:
    from gs3d.evaluation.report_html import strip
    from gs3d.ops.place import framed

    try:
        data = strip(framed(asset()))
        write_atomic(folder / STRIP, lambda path: path.write_bytes(data), lambda path: None)
    except Exception:
        traceback.print_exc()
