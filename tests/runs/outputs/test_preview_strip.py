"""progress.png: its rows, unchanged results of the run, resumed runs and damaged files."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from PIL import Image

import gs3d
from gs3d.io.image import png
from gs3d.runs import loop
from gs3d.runs.outputs import files as outputs
from gs3d.runs.outputs import preview_strip
from gs3d.runs.outputs.preview_strip import (
    ROWS,
    SIDE_PX,
    STRIP,
    WORDS_PX,
    PreviewStrip,
    Row,
    read_rows,
    thin_out,
    trim_strip,
    write_rows,
)
from tests.runs.running import (
    FIELD_THEN_SURFACE,
    SPLATS,
    generate,
    interrupt_after,
    request_for,
)

STEPS = 8
FEW_ROWS = 6
# The light draws random numbers, which a row must not draw.
LIT_FIELD_THEN_SURFACE = FIELD_THEN_SURFACE.replace(
    "      samples: 8\n",
    "      samples: 8\n"
    "      light: {lambert: 0.5}\n"
    "      regularizers: {orientation: {start: 0.0, end: 0.02}}\n",
)
CONFIGS = {"splats": SPLATS, "field and surface": LIT_FIELD_THEN_SURFACE}


@pytest.fixture
def row_after_every_step(monkeypatch):
    """A row is added after every iteration, and at most FEW_ROWS are kept."""
    monkeypatch.setattr(preview_strip, "SHARE", float("inf"))
    monkeypatch.setattr(preview_strip, "ROWS", FEW_ROWS)


@pytest.fixture
def request_of(tiny_builtin_folder, tmp_path):
    """A function that returns a request with `every_s` seconds between rows."""

    def request(settings: str, every_s: float, name: str):
        config = f"{settings}progress_every_s: {every_s:.6f}\n"
        folder = tmp_path / name
        return request_for(tiny_builtin_folder, folder, config, STEPS, guidance="sds")

    return request


def results_of(result) -> list[np.ndarray]:
    """The tensors of the asset of a run and the bytes of its asset files."""
    tensors = [np.asarray(getattr(result.asset, f.name)) for f in dataclasses.fields(result.asset)]
    return tensors + [
        np.frombuffer(path.read_bytes(), np.uint8)
        for path in result.files
        if path.suffix in (".ply", ".glb", ".obj")
    ]


def equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(results_of(a), results_of(b), strict=True))


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
def test_strip_and_resume_do_not_change_the_result(request_of, row_after_every_step, settings):
    without = generate(request_of(settings, 0, "without"))
    complete = generate(request_of(settings, 1e-6, "complete"))
    assert equal(without, complete)
    assert not (without.folder / STRIP).exists()
    assert complete.folder / STRIP in complete.files and not complete.warnings
    interrupted = request_of(settings, 1e-6, "interrupted")
    assert generate(interrupted, report=interrupt_after(4)).steps == 5
    resumed = generate(dataclasses.replace(interrupted, resume=True))
    assert equal(without, resumed)
    for folder in (complete.folder, resumed.folder):
        steps = [row.step for row in read_rows(folder / STRIP)]
        assert len(steps) == FEW_ROWS and steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (1, STEPS)
    first_of_resumed, first = (
        read_rows(folder / STRIP)[0].pixels[:, WORDS_PX:]
        for folder in (resumed.folder, complete.folder)
    )
    assert np.array_equal(first_of_resumed, first) and first.std() > 3


def test_last_row_shows_the_result_from_four_sides(request_of):
    result = generate(request_of(SPLATS, 30, "run"))
    (row,) = read_rows(result.folder / STRIP)
    cameras = gs3d.ring(4, SIDE_PX)
    front, left, back, right = outputs.frames(result.splats, cameras)
    expected = np.concatenate([front, left, back, right], axis=1) * 255
    # The strip lacks the blur of 0.3 px² that everything else that renders splats adds.
    assert np.abs(row.pixels[:, WORDS_PX:] - expected).max() <= 6
    assert np.abs(row.pixels[:, WORDS_PX:] - expected).mean() <= 0.6
    assert (row.pixels[:, :WORDS_PX] < 128).any()  # there is text
    assert row.step == STEPS and 0 < row.elapsed_s < 600
    with Image.open(result.folder / STRIP) as strip:
        assert strip.size == (WORDS_PX + 4 * SIDE_PX, SIDE_PX)


def test_file_grows_during_the_run(request_of, row_after_every_step):
    counts, request = [], request_of(SPLATS, 1e-6, "run")

    def count_rows(entry, budget):
        counts.append(len(read_rows(request.out / STRIP)))

    generate(request, report=count_rows)
    assert counts[:FEW_ROWS] == list(range(FEW_ROWS)) and counts[-1] == FEW_ROWS


def test_failing_strip_is_a_warning(request_of, row_after_every_step, monkeypatch):
    without = generate(request_of(SPLATS, 0, "without"))

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(preview_strip, "add_row", full)
    lines = []
    result = generate(request_of(SPLATS, 1e-6, "run"), say=lines.append)
    assert result.outcome == "finished" and equal(without, result)
    assert [line for line in lines if STRIP in line] == [
        "warning: progress.png: CUDA out of memory; the run continues without previews"
    ]


def test_repeated_steps_are_removed_on_resume(request_of, row_after_every_step, monkeypatch):
    request, save_checkpoint = request_of(SPLATS, 1e-6, "run"), loop.save_checkpoint

    def save_only_early(folder, checkpoint):
        if checkpoint.step <= 3:
            save_checkpoint(folder, checkpoint)

    monkeypatch.setattr(loop, "save_checkpoint", save_only_early)
    generate(request, report=interrupt_after(2))
    resumed = dataclasses.replace(request, resume=True)
    without_checkpoint = generate(resumed, report=interrupt_after(5))
    assert without_checkpoint.steps == 6 and read_rows(request.out / STRIP)[-1].step == 6
    steps = []

    def record_steps(entry, budget):
        steps.append([row.step for row in read_rows(request.out / STRIP)])

    generate(resumed, report=record_steps)
    assert steps[0] == [1, 2, 3]


def rows_at(*seconds: float) -> list[Row]:
    """Rows of plain images, one per moment."""
    blank = np.zeros((SIDE_PX, WORDS_PX + 4 * SIDE_PX, 3), np.uint8)
    return [Row(i + 1, s, blank + i % 256) for i, s in enumerate(seconds)]


@pytest.mark.parametrize("count", [11, 20, 64, 333])
def test_thin_out_keeps_first_and_last_row_and_even_gaps(count):
    rows = []
    for row in rows_at(*np.cumsum(np.random.default_rng(count).uniform(29, 31, count))):
        rows = thin_out([*rows, row])
    seconds = np.array([row.elapsed_s for row in rows])
    gaps = np.diff(seconds)
    assert len(rows) == ROWS and (rows[0].step, rows[-1].step) == (1, count)
    assert gaps.max() <= 3.2 * (seconds[-1] - seconds[0]) / (ROWS - 1)


@pytest.mark.parametrize("damage", ["cut", "not a PNG", "another image", "no file"])
def test_damaged_strip_is_replaced(tmp_path, damage):
    path = tmp_path / STRIP
    if damage == "another image":
        png.write_pixels(path, np.zeros((8, 8, 3), np.uint8), {"gs3d": "[[1, 2.0]]"})
    elif damage != "no file":
        write_rows(path, rows_at(1.0, 2.0))
        path.write_bytes(path.read_bytes()[:400] if damage == "cut" else b"not an image")
    assert read_rows(path) == []
    trim_strip(path, 5)
    assert not path.exists()


def test_rows_round_trip(tmp_path):
    rows = rows_at(1.0, 2.5, 7.25)
    write_rows(tmp_path / STRIP, rows)
    back = read_rows(tmp_path / STRIP)
    assert [(r.step, r.elapsed_s) for r in back] == [(1, 1.0), (2, 2.5), (3, 7.25)]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(rows, back, strict=True))


def test_slow_rows_are_added_less_often(tmp_path, monkeypatch):
    now, added = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slow(*_):
        added.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(preview_strip, "add_row", slow)
    strip = PreviewStrip(tmp_path / STRIP, 30.0, print)
    for _ in range(1000):
        strip.update(None, None, 0.0)
        now[0] += 1.0
    assert added[0] == 130.0
    assert np.diff(added) == pytest.approx(2 / preview_strip.SHARE + 2, abs=1)
    assert 2 * len(added) <= 0.011 * (now[0] - 100) + 2
