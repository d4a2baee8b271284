"""log.png: plots of the quantities in a run's log.jsonl over time, one panel each.

This is the only module that uses matplotlib. It does not import pyplot, which doubles the import
time and looks for a display.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.representations.dmtet.dmtet import Dmtet
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.representations.nerf.nerf import Nerf
from gs3d.runs.outputs.log import read_log

# Users need no message about the font cache that matplotlib builds on first use.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

SIZE_KEYS = (Gaussians.counts, Nerf.counts, Dmtet.counts)
"""Keys for the size of a representation; a row has one. Where it changes, a new stage begins."""
TITLES = {
    "loss": "loss",
    "grad_rms": "gradient, root mean square",
    "cfg": "guidance scale (cfg)",
    "t": "noise level (t)",
}
"""Key of the log -> title of its panel. Other keys are their own titles."""
NOISY = ("loss", "grad_rms")
"""Keys that are drawn with a running mean."""
SMOOTH = 0.03
"""Window of the running mean, as a fraction of the rows of a stage."""
COLUMNS, PANEL_IN, DPI = 3, (3.5, 2.3), 96
LINE, PALE, SKIPPED = "#1f5fae", "#a9c4e4", "#c8322b"


def panels(rows: Sequence[dict]) -> dict[str, list[str]]:
    """Return title -> keys of the log for each panel.

    The order is: loss, gradient, sizes of the representations, then all other logged values.
    """
    keys: dict[str, None] = dict.fromkeys(
        key
        for row in rows
        for key in row
        if key not in ("step", "progress", "elapsed_s", "skipped", "particle")
    )
    shown: dict[str, list[str]] = {}
    for key in sorted(keys, key=lambda key: (key not in NOISY, key not in SIZE_KEYS)):
        title = TITLES["t"] if key in ("t", "t1") else TITLES.get(key, key)
        shown.setdefault(title, []).append(key)
    return shown


def stage_ranges(rows: Sequence[dict]) -> list[tuple[int, int]]:
    """Return (first row, end) of each stage; `end` is the row after its last one.

    Consecutive stages with the same representation are one range.
    """
    size_keys = [next((key for key in SIZE_KEYS if key in row), None) for row in rows]
    borders = [i for i in range(1, len(rows)) if size_keys[i] != size_keys[i - 1]]
    return list(zip([0, *borders], [*borders, len(rows)], strict=True))


def running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean of `values` [n] over `width` neighbors, without NaN; shape [n].

    The window is cut off at both ends. The mean is NaN if the window holds only NaN.
    """
    known, kernel = np.isfinite(values), np.ones(min(width, len(values)))
    total = np.convolve(np.where(known, values, 0), kernel, "same")
    count = np.convolve(known, kernel, "same")
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def write_plot(path: Path, log: Path) -> None:
    """Draw the log.jsonl `log` to `path`, a PNG.

    Raises:
        UserError: The log has no row.
    """
    rows = read_log(log)
    if not rows:
        raise UserError(
            f"cannot write {path}: expected at least one iteration in {log.name}, got none."
        )
    figure = draw_figure(rows)

    def verify(temp: Path) -> None:
        from PIL import Image

        with Image.open(temp, formats=["PNG"]) as back:
            back.load()

    write_atomic(path, lambda temp: figure.savefig(temp, format="png", dpi=DPI), verify)


def draw_figure(rows: Sequence[dict]) -> Figure:
    """Draw the panels of `panels` in one figure."""
    shown = panels(rows)
    rows_of_panels = -(-len(shown) // COLUMNS)
    width, height = COLUMNS * PANEL_IN[0], rows_of_panels * PANEL_IN[1] + 0.4
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    seconds = np.array([row["elapsed_s"] for row in rows], float)
    unit, scale = ("minutes", 60.0) if seconds[-1] > 300 else ("seconds", 1.0)
    # A fixed layout: automatic ones of matplotlib draw everything twice.
    figure.subplots_adjust(
        left=0.6 / width,
        right=1 - 0.15 / width,
        bottom=0.65 / height,
        top=1 - 0.3 / height,
        wspace=0.22,
        hspace=0.42,
    )
    for i, (title, keys) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(rows_of_panels, COLUMNS, i)
        _panel(axes, rows, seconds / scale, keys)
        axes.set_title(title, fontsize=9)
    skipped = sum(bool(row.get("skipped")) for row in rows)
    caption = f"{unit} since the start, {rows[-1]['step'] + 1} steps"
    if skipped:
        caption += f", {skipped} of them skipped (red)"
    if len(stage_ranges(rows)) > 1:
        caption += ", dotted: start of the next stage; losses of stages are not comparable"
    figure.text(0.5, 0.12 / height, caption, ha="center", fontsize=9)
    return figure


def _panel(axes: Axes, rows: Sequence[dict], time: np.ndarray, keys: Sequence[str]) -> None:
    """Plot `keys` of the rows over `time` [n]."""
    ranges = stage_ranges(rows)
    for key in keys:
        # None stands for NaN and Inf, which JSON lacks. The rows of other stages may lack the key.
        values = np.array([np.nan if row.get(key) is None else row[key] for row in rows], float)
        color = LINE if key == keys[0] else PALE
        for first, end in ranges:
            part, noisy = slice(first, end), key in NOISY and (end - first) * SMOOTH > 2
            axes.plot(
                time[part],
                values[part],
                color=PALE if noisy else color,
                linewidth=0.8,
                label=key if first == 0 else None,
            )
            if noisy:
                axes.plot(
                    time[part],
                    running_mean(values[part], round((end - first) * SMOOTH)),
                    color=LINE,
                    linewidth=1.2,
                )
        known = values[np.isfinite(values)]
        if key in NOISY and len(known) and known.min() > 0 and known.max() > 30 * known.min():
            axes.set_yscale("log")
    for first, _ in ranges[1:]:
        axes.axvline(time[first], color="#555555", linewidth=0.8, linestyle=":")
    skipped = [moment for moment, row in zip(time, rows, strict=True) if row.get("skipped")]
    if skipped:
        axes.plot(
            skipped,
            np.zeros(len(skipped)),
            "|",
            color=SKIPPED,
            markersize=7,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
    if len(keys) > 1:
        axes.legend(fontsize=7, frameon=False)
    if axes.get_yscale() == "linear":
        axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlim(min(time[0], 0.0), max(time[-1], 1e-3))
    axes.tick_params(labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
