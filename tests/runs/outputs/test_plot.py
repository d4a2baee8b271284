"""log.png: what of a log is drawn, and that a run ends well without it."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.runs.outputs import plot
from gs3d.runs.outputs.plot import drawn, panels, read_log, smoothed, stages, write_plot
from gs3d.runs.request import Request
from tests.runs.running import generate

CONFIG = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [32]}}
gaussians: {count: 150}
losses:
  cds: {cfg: {start: 5, end: 5}}
"""


def row(step: int, counts: str = "splats", **more) -> dict:
    both = {
        "step": step,
        "progress": step / 100,
        "elapsed_s": 10 + 0.5 * step,
        "loss": 1 / (step + 1),
        "grad_rms": 0.5,
    }
    return both | {counts: 100 + step, "t": 0.9 - step / 200, "cfg": 8.0} | more


@pytest.fixture
def request_(tiny_builtin_folder, tmp_path):
    config = tmp_path / "tiny.yaml"
    config.write_text(CONFIG)
    prior = str(tiny_builtin_folder)
    return Request(
        "a red mushroom",
        steps=6,
        prior=prior,
        guidance="cds",
        out=tmp_path / "run",
        config=config,
        device="cpu",
    )


def test_each_quantity_has_a_plot_and_the_times_of_a_loss_share_one():
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
    figure = drawn(rows)
    assert [axes.get_title() for axes in figure.axes] == list(panels(rows))
    (count,) = (axes for axes in figure.axes if axes.get_title() == "splats")
    assert np.nanmax(count.lines[0].get_ydata()) == 101


def test_a_stage_begins_where_another_thing_is_counted():
    rows = [row(i, "occupied_voxels") for i in range(4)] + [
        row(i, "inner_vertices") for i in range(4, 9)
    ]
    assert stages(rows) == [(0, 4), (4, 9)] and stages(rows[:4]) == [(0, 4)]
    for axes in drawn(rows).axes:
        assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [
            rows[4]["elapsed_s"]
        ]
        # No line leads from one stage to the next.
        assert not any(len(line.get_xdata()) == 9 for line in axes.lines)


def test_skipped_steps_are_marked_in_every_plot_and_counted():
    rows = [row(i) for i in range(9)]
    for i in (3, 7):
        rows[i] |= {"skipped": True, "loss": None, "grad_rms": None}
    figure = drawn(rows)
    for axes in figure.axes:
        (marks,) = (line for line in axes.lines if line.get_color() == plot.SKIPPED)
        assert list(marks.get_xdata()) == [rows[3]["elapsed_s"], rows[7]["elapsed_s"]]
    assert "9 steps, 2 of them skipped" in figure.texts[0].get_text()
    assert "skipped" not in drawn([row(0)]).texts[0].get_text()


def test_a_running_mean_leaves_out_what_is_not_known():
    values = np.array([1.0, 3.0, np.nan, 5.0, 7.0])
    assert smoothed(values, 3) == pytest.approx([2, 2, 4, 6, 6])
    assert np.isnan(smoothed(np.array([np.nan] * 5), 3)).all()


@pytest.mark.parametrize(
    "rows",
    [[row(0)], [row(0, loss=None, grad_rms=None)], [row(i, loss=10.0**-i) for i in range(9)]],
)
def test_few_rows_unknown_values_and_wide_ranges_can_be_drawn(tmp_path, rows):
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    write_plot(tmp_path / "log.png", tmp_path / "log.jsonl")
    with Image.open(tmp_path / "log.png") as picture:
        assert picture.format == "PNG" and picture.width > 900


def test_rows_that_are_none_are_left_out_and_a_log_without_any_is_one_line(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(row(0)) + '\n[]\n{"loss": 1}\n' + json.dumps(row(1))[:-9] + "\n")
    assert read_log(log) == [row(0)]
    log.write_text("\n")
    with pytest.raises(UserError, match="expected at least one iteration in log.jsonl, got none"):
        write_plot(tmp_path / "log.png", log)
    assert not (tmp_path / "log.png").exists()


def test_a_resumed_run_plots_all_of_its_steps(request_, monkeypatch):
    seen, real = [], plot.drawn
    monkeypatch.setattr(
        plot, "drawn", lambda rows: seen.append([r["step"] for r in rows]) or real(rows)
    )
    generate(
        request_,
        report=lambda entry, budget: (
            os.kill(os.getpid(), signal.SIGINT) if entry.step == 2 else None
        ),
    )
    result = generate(dataclasses.replace(request_, resume=True))
    assert seen == [[0, 1, 2], [0, 1, 2, 3, 4, 5]]
    assert result.folder / "log.png" in result.files and not result.warnings


def test_a_run_whose_plot_fails_ends_as_it_would_have(request_, monkeypatch):
    monkeypatch.setattr(plot, "drawn", lambda rows: 1 / 0)
    result = generate(request_)
    assert result.outcome == "finished" and (result.folder / "splats.ply").exists()
    assert (
        [w for w in result.warnings if w.startswith("log.png: cannot be made (ZeroDivisionError")]
        == result.warnings
        != []
    )
    assert not (result.folder / "log.png").exists()


def test_matplotlib_stays_in_the_module_that_draws():
    from pathlib import Path

    import gs3d

    users = [
        p.name
        for p in Path(gs3d.__file__).parent.rglob("*.py")
        if "matplotlib" in p.read_text() and p.name != "plot.py"
    ]
    assert users == []
