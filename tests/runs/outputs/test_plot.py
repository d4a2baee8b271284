"""log.png: panels, stages, skipped steps, and runs whose plot fails."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gs3d
from gs3d.core.errors import UserError
from gs3d.runs.outputs import plot
from gs3d.runs.outputs.log import read_log
from gs3d.runs.outputs.plot import (
    draw_figure,
    panels,
    running_mean,
    stage_ranges,
    write_plot,
)
from tests.runs.running import generate, interrupt_after


@pytest.fixture(autouse=True)
def drawn_plot(monkeypatch):
    """Here log.png is drawn; elsewhere it is blank."""
    monkeypatch.setattr(plot, "draw_figure", draw_figure)


def row(step: int, size_key: str = "splats", **more) -> dict:
    """A row of log.jsonl."""
    common = {
        "step": step,
        "progress": step / 100,
        "elapsed_s": 10 + 0.5 * step,
        "loss": 1 / (step + 1),
        "grad_rms": 0.5,
    }
    return common | {size_key: 100 + step, "t": 0.9 - step / 200, "cfg": 8.0} | more


def test_each_quantity_has_a_panel_and_both_times_share_one():
    rows = [row(0, t1=0.95), row(1, t1=0.9), row(2, "inner_vertices", weight=3.0)]
    assert list(panels(rows).values()) == [
        ["loss"],
        ["grad_rms"],
        ["splats"],
        ["inner_vertices"],
        ["t", "t1"],
        ["cfg"],
        ["weight"],
    ]
    figure = draw_figure(rows)
    assert [axes.get_title() for axes in figure.axes] == list(panels(rows))
    (count,) = (axes for axes in figure.axes if axes.get_title() == "splats")
    assert np.nanmax(count.lines[0].get_ydata()) == 101


def test_new_representation_starts_a_stage_with_a_dotted_line():
    first_stage = [row(i, "occupied_voxels") for i in range(4)]
    rows = first_stage + [row(i, "inner_vertices") for i in range(4, 9)]
    assert stage_ranges(rows) == [(0, 4), (4, 9)] and stage_ranges(first_stage) == [(0, 4)]
    for axes in draw_figure(rows).axes:
        dotted = [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        assert dotted == [rows[4]["elapsed_s"]]
        # No curve continues from one stage to the next.
        assert not any(len(line.get_xdata()) == 9 for line in axes.lines)


def test_skipped_steps_are_marked_in_every_panel_and_counted():
    rows = [row(i) for i in range(9)]
    for i in (3, 7):
        rows[i] |= {"skipped": True, "loss": None, "grad_rms": None}
    figure = draw_figure(rows)
    for axes in figure.axes:
        (ticks,) = (line for line in axes.lines if line.get_color() == plot.SKIPPED)
        assert list(ticks.get_xdata()) == [rows[3]["elapsed_s"], rows[7]["elapsed_s"]]
    assert "9 steps, 2 of them skipped" in figure.texts[0].get_text()
    assert "skipped" not in draw_figure([row(0)]).texts[0].get_text()


def test_running_mean_ignores_nan():
    values = np.array([1.0, 3.0, np.nan, 5.0, 7.0])
    assert running_mean(values, 3) == pytest.approx([2, 2, 4, 6, 6])
    assert np.isnan(running_mean(np.array([np.nan] * 5), 3)).all()


@pytest.mark.parametrize(
    "rows",
    [[row(0)], [row(0, loss=None, grad_rms=None)], [row(i, loss=10.0**-i) for i in range(9)]],
    ids=["one row", "unknown values", "wide range"],
)
def test_plot_of_unusual_logs(tmp_path, rows):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    write_plot(tmp_path / "log.png", tmp_path / "log.jsonl")
    with Image.open(tmp_path / "log.png") as image:
        assert image.format == "PNG" and image.width > 900


def test_invalid_rows_are_skipped_and_an_empty_log_is_refused(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(row(0)) + '\n[]\n{"loss": 1}\n' + json.dumps(row(1))[:-9] + "\n")
    assert read_log(log) == [row(0)]
    log.write_text("\n")
    with pytest.raises(UserError, match="expected at least one iteration in log.jsonl, got none"):
        write_plot(tmp_path / "log.png", log)
    assert not (tmp_path / "log.png").exists()


def test_resumed_run_plots_all_steps(splats_request, monkeypatch):
    plotted = []

    def record(rows):
        plotted.append([r["step"] for r in rows])
        return draw_figure(rows)

    monkeypatch.setattr(plot, "draw_figure", record)
    request = dataclasses.replace(splats_request, steps=4)
    generate(request, report=interrupt_after(1))
    result = generate(dataclasses.replace(request, resume=True))
    assert plotted == [[0, 1], [0, 1, 2, 3]]
    assert result.folder / "log.png" in result.files and not result.warnings


def test_failing_plot_is_a_warning(splats_request, monkeypatch):
    monkeypatch.setattr(plot, "draw_figure", lambda rows: 1 / 0)
    result = generate(dataclasses.replace(splats_request, steps=2))
    assert result.outcome == "finished" and (result.folder / "splats.ply").exists()
    (warning,) = result.warnings
    assert warning.startswith("log.png: cannot be made (ZeroDivisionError")
    assert not (result.folder / "log.png").exists()


def test_only_the_plot_module_uses_matplotlib():
    files = Path(gs3d.__file__).parent.rglob("*.py")
    users = [p.name for p in files if "matplotlib" in p.read_text() and p.name != "plot.py"]
    assert users == []
