"""progress.png: a row a moment, the same run with it as without, and a sheet that goes on after a resume."""

import dataclasses
import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

import gs3d
from gs3d.io.image import png
from gs3d.runs import loop
from gs3d.runs.outputs import files as export
from gs3d.runs.outputs import preview_strip as sheet
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
from gs3d.runs.request import Request
from tests.runs.running import generate

SPLATS = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [32]}, draws: 4}
gaussians: {count: 150, rates: {iterations: 10}}
densify: {start: 0.2, stop: 0.9, rounds: 4, grow_share: 0.2, max_count: 400}
losses:
  sds: {cfg: {start: 5, end: 5}}
"""
FIELD = """
batch: 4
cameras: {resolution_px: {at: [0.0], values: [16]}}
losses:
  sds: {cfg: {start: 5, end: 5}}
stages:
  - representation: nerf
    nerf:
      samples: 8
      occupancy_resolution: 8
      occupancy_every: 2
      light: {lambert: 0.5}
      regularizers: {orientation: {start: 0.0, end: 0.02}}
      field: {hidden: 8, grid: {levels: 3, log2_size: 10, coarsest: 4, finest: 16}}
  - {representation: dmtet, normals: 0.5, dmtet: {resolution: 12}}
"""


pytestmark = pytest.mark.usefixtures("small_files")


@pytest.fixture
def after_every_step(monkeypatch):
    monkeypatch.setattr(sheet, "SHARE", float("inf"))


@pytest.fixture
def request_of(tiny_builtin_folder, tmp_path):
    def made(settings: str, every_s: float, name: str) -> Request:
        config = tmp_path / f"{name}.yaml"
        config.write_text(f"{settings}progress_every_s: {every_s:.6f}\n")
        prior = str(tiny_builtin_folder)
        return Request(
            "a red mushroom",
            steps=12,
            prior=prior,
            guidance="sds",
            out=tmp_path / name,
            config=config,
            device="cpu",
        )

    return made


def parts_of(result) -> list[np.ndarray]:
    """All numbers of what a run has made."""
    made = [np.asarray(getattr(result.asset, f.name)) for f in dataclasses.fields(result.asset)]
    return made + [
        np.frombuffer(path.read_bytes(), np.uint8)
        for path in result.files
        if path.suffix in (".ply", ".glb", ".obj")
    ]


def same(one, other) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(parts_of(one), parts_of(other), strict=True))


def stop_after(step):
    def stop(entry, budget):
        if entry.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return stop


@pytest.mark.parametrize("settings", [SPLATS, FIELD], ids=["splats", "field and surface"])
def test_a_run_is_the_same_with_pictures_without_them_and_after_a_resume(
    request_of, after_every_step, settings
):
    plain, seen = (
        generate(request_of(settings, 0, "plain")),
        generate(request_of(settings, 1e-6, "seen")),
    )
    assert same(plain, seen)
    assert (
        not (plain.folder / STRIP).exists()
        and seen.folder / STRIP in seen.files
        and not seen.warnings
    )
    part = request_of(settings, 1e-6, "part")
    assert generate(part, report=stop_after(6)).steps == 7
    resumed = generate(dataclasses.replace(part, resume=True))
    assert same(plain, resumed)
    for folder in (seen.folder, resumed.folder):
        rows = read_rows(folder / STRIP)
        steps = [row.step for row in rows]
        assert (
            len(rows) == ROWS and steps == sorted(set(steps)) and (steps[0], steps[-1]) == (1, 12)
        )
    # The row of a step that was made before the break is the picture that the unbroken run has of it.
    (first, whole) = (
        read_rows(folder / STRIP)[0].pixels[:, WORDS_PX:]
        for folder in (resumed.folder, seen.folder)
    )
    assert np.array_equal(first, whole) and first.std() > 3


def test_the_last_row_shows_what_the_run_has_made_from_its_four_sides(request_of):
    result = generate(request_of(SPLATS, 30, "run"))
    (row,) = read_rows(result.folder / STRIP)
    front, left, back, right = export.stacked_frames(result.splats, gs3d.ring(4, SIDE_PX)).numpy()
    wanted = np.concatenate([front, left, back, right], axis=1) * 255
    assert np.abs(row.pixels[:, WORDS_PX:] - wanted).max() <= 0.51
    assert (row.pixels[:, :WORDS_PX] < 128).any()  # words
    assert row.step == 12 and 0 < row.elapsed_s < 600
    with Image.open(result.folder / STRIP) as sheet:
        assert sheet.size == (WORDS_PX + 4 * SIDE_PX, SIDE_PX)


def test_the_sheet_can_be_watched_while_it_grows(request_of, after_every_step):
    grown = []
    request = request_of(SPLATS, 1e-6, "run")
    generate(
        request, report=lambda entry, budget: grown.append(len(read_rows(request.out / STRIP)))
    )
    assert grown[:10] == list(range(10)) and grown[-1] == ROWS


def test_pictures_that_fail_are_a_warning_and_the_run_goes_on(
    request_of, after_every_step, monkeypatch
):
    plain = generate(request_of(SPLATS, 0, "plain"))

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sheet, "add_row", full)
    said = []
    result = generate(request_of(SPLATS, 1e-6, "run"), say=said.append)
    assert result.outcome == "finished" and same(plain, result)
    assert [line for line in said if STRIP in line] == [
        "warning: progress.png: CUDA out of memory; the run continues without previews"
    ]


def test_steps_that_will_be_run_again_leave_the_sheet(request_of, after_every_step, monkeypatch):
    request = request_of(SPLATS, 1e-6, "run")
    save = loop.save_checkpoint
    monkeypatch.setattr(
        loop, "save_checkpoint", lambda folder, c: save(folder, c) if c.step <= 4 else None
    )
    generate(request, report=stop_after(3))
    lost = generate(
        dataclasses.replace(request, resume=True), report=stop_after(8)
    )  # its checkpoint never came to be
    assert lost.steps == 9 and read_rows(request.out / STRIP)[-1].step == 9
    seen = []
    generate(
        dataclasses.replace(request, resume=True),
        report=lambda *_: seen.append([r.step for r in read_rows(request.out / STRIP)]),
    )
    assert seen[0] == [1, 2, 3, 4]


def rows_at(*seconds: float) -> list[Row]:
    blank = np.zeros((SIDE_PX, WORDS_PX + 4 * SIDE_PX, 3), np.uint8)
    return [Row(i + 1, s, blank + i % 256) for i, s in enumerate(seconds)]


@pytest.mark.parametrize("count", [11, 20, 64, 333])
def test_a_long_run_keeps_its_first_row_its_last_and_even_ones_between(count):
    rows = []
    for row in rows_at(*np.cumsum(np.random.default_rng(count).uniform(29, 31, count))):
        rows = thin_out([*rows, row])
    seconds = np.array([row.elapsed_s for row in rows])
    gaps = np.diff(seconds)
    assert len(rows) == ROWS and (rows[0].step, rows[-1].step) == (1, count)
    assert gaps.max() <= 3.2 * (seconds[-1] - seconds[0]) / (ROWS - 1)


@pytest.mark.parametrize("damage", ["cut", "not a PNG", "another sheet", "no file"])
def test_a_sheet_that_cannot_be_read_is_begun_anew(tmp_path, damage):
    path = tmp_path / STRIP
    if damage == "another sheet":
        png.write_pixels(path, np.zeros((8, 8, 3), np.uint8), {"gs3d": "[[1, 2.0]]"})
    elif damage != "no file":
        write_rows(path, rows_at(1.0, 2.0))
        path.write_bytes(path.read_bytes()[:400] if damage == "cut" else b"no picture")
    assert read_rows(path) == []
    trim_strip(path, 5)
    assert not path.exists()


def test_rows_survive_their_file(tmp_path):
    rows = rows_at(1.0, 2.5, 7.25)
    write_rows(tmp_path / STRIP, rows)
    back = read_rows(tmp_path / STRIP)
    assert [(r.step, r.elapsed_s) for r in back] == [(1, 1.0), (2, 2.5), (3, 7.25)]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(rows, back, strict=True))


def test_pictures_that_take_long_come_more_seldom(tmp_path, monkeypatch):
    now, made = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def slow(*_):
        made.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(sheet, "add_row", slow)
    watched = PreviewStrip(tmp_path / STRIP, 30.0, print)
    for _ in range(1000):
        watched.update(None, None, 0.0)
        now[0] += 1.0
    assert made[0] == 130.0 and np.diff(made) == pytest.approx(2 / sheet.SHARE + 2, abs=1)
    assert 2 * len(made) <= 0.011 * (now[0] - 100) + 2
