"""log.png: the course of a run from its log.jsonl, a small plot a quantity over the time it took. The only module that uses matplotlib.

pyplot, which takes as long to import as the rest together and looks for a screen, is left alone.
"""

import json
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

logging.getLogger("matplotlib").setLevel(
    logging.ERROR
)  # that it builds a cache of fonts is no news for whoever runs gs3d

COUNTED = (Gaussians.counts, Nerf.counts, Dmtet.counts)
"""What a row of the log may count; where it changes, another stage begins."""
TITLES = {
    "loss": "loss",
    "grad_rms": "gradient, root mean square",
    "cfg": "guidance scale (cfg)",
    "t": "noise level (t)",
}
NOISY = ("loss", "grad_rms")
"""Of these the running mean over SMOOTH of the rows is drawn too."""
SMOOTH = 0.03
COLUMNS, PANEL_IN, DPI = 3, (3.5, 2.3), 96
LINE, PALE, SKIPPED = "#1f5fae", "#a9c4e4", "#c8322b"


def read_log(path: Path) -> list[dict]:
    """The rows of a log.jsonl; a half-written one is left out, and so is what is no row."""
    rows = []
    for line in path.read_text("utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"step", "elapsed_s"} <= row.keys():
            rows.append(row)
    return rows


def panels(rows: Sequence[dict]) -> dict[str, list[str]]:
    """Title → the keys of the log that a plot of that title shows: loss, gradient, what is counted, and whatever else was logged."""
    keys = dict.fromkeys(
        key
        for row in rows
        for key in row
        if key not in ("step", "progress", "elapsed_s", "skipped")
    )
    shown: dict[str, list[str]] = {}
    for key in sorted(keys, key=lambda key: (key not in NOISY, key not in COUNTED)):
        shown.setdefault(TITLES["t"] if key in ("t", "t1") else TITLES.get(key, key), []).append(
            key
        )
    return shown


def stages(rows: Sequence[dict]) -> list[tuple[int, int]]:
    """(first row, row after the last) of each stretch that counts one thing."""
    counted = [next((key for key in COUNTED if key in row), None) for row in rows]
    borders = [i for i in range(1, len(rows)) if counted[i] != counted[i - 1]]
    return list(zip([0, *borders], [*borders, len(rows)], strict=True))


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the `width` values around each of [n], those that are NaN left out; fewer at the ends."""
    known, kernel = np.isfinite(values), np.ones(min(width, len(values)))
    total, count = (
        np.convolve(np.where(known, values, 0), kernel, "same"),
        np.convolve(known, kernel, "same"),
    )
    return np.where(count > 0.5, total / np.maximum(count, 1), np.nan)


def write_plot(path: Path, log: Path) -> None:
    """Draw `log` to `path`, a PNG. UserError if the log has no row."""
    rows = read_log(log)
    if not rows:
        raise UserError(
            f"cannot write {path}: expected at least one iteration in {log.name}, got none."
        )
    figure = drawn(rows)

    def verify(temp: Path) -> None:
        from PIL import Image

        with Image.open(temp, formats=["PNG"]) as back:
            back.load()

    write_atomic(path, lambda temp: figure.savefig(temp, format="png", dpi=DPI), verify)


def drawn(rows: Sequence[dict]) -> Figure:
    """A figure with the plots of `panels`."""
    shown = panels(rows)
    lines = -(-len(shown) // COLUMNS)
    width, height = COLUMNS * PANEL_IN[0], lines * PANEL_IN[1] + 0.4
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    seconds = np.array([row["elapsed_s"] for row in rows], float)
    unit, scale = ("minutes", 60.0) if seconds[-1] > 300 else ("seconds", 1.0)
    # By hand: a layout that matplotlib works out itself draws everything twice.
    figure.subplots_adjust(
        left=0.6 / width,
        right=1 - 0.15 / width,
        bottom=0.65 / height,
        top=1 - 0.3 / height,
        wspace=0.22,
        hspace=0.42,
    )
    for i, (title, keys) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(lines, COLUMNS, i)
        _panel(axes, rows, seconds / scale, keys)
        axes.set_title(title, fontsize=9)
    skipped = sum(bool(row.get("skipped")) for row in rows)
    words = f"{unit} since the start, {rows[-1]['step'] + 1} steps" + (
        f", {skipped} of them skipped (red)" if skipped else ""
    )
    words += (
        ", dotted: the next stage begins, whose loss is of another kind"
        if len(stages(rows)) > 1
        else ""
    )
    figure.text(0.5, 0.12 / height, words, ha="center", fontsize=9)
    return figure


def _panel(axes: Axes, rows: Sequence[dict], time: np.ndarray, keys: Sequence[str]) -> None:
    parts = stages(rows)
    for key in keys:
        # None stands for NaN and Inf, which JSON does not have; a key may be missing in another stage's rows.
        values = np.array([np.nan if row.get(key) is None else row[key] for row in rows], float)
        color = LINE if key == keys[0] else PALE
        for first, after in parts:
            part, noisy = slice(first, after), key in NOISY and (after - first) * SMOOTH > 2
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
                    smoothed(values[part], round((after - first) * SMOOTH)),
                    color=LINE,
                    linewidth=1.2,
                )
        known = values[np.isfinite(values)]
        if key in NOISY and len(known) and known.min() > 0 and known.max() > 30 * known.min():
            axes.set_yscale("log")
    for first, _ in parts[1:]:
        axes.axvline(time[first], color="#555555", linewidth=0.8, linestyle=":")
    skipped = [at for at, row in zip(time, rows, strict=True) if row.get("skipped")]
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
