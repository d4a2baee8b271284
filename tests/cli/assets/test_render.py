"""`gs3d render`, and the renders that a run writes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gs3d
from gs3d.core.types import Splats
from gs3d.representations.gaussians.config import GaussianConfig
from gs3d.representations.gaussians.densify import DensifyConfig
from gs3d.representations.gaussians.gaussians import Gaussians
from gs3d.runs.outputs import files
from tests.cli.commands import one_line_fault, run

SMALL = ("--size", "64", "--views", "4")


@pytest.mark.parametrize("name", ["sheet.png", "turn.mp4"])
def test_render_of_a_file(capsys, ply, tmp_path, name):
    path = tmp_path / name
    status, _, err = run(capsys, "render", str(ply), "-o", str(path), *SMALL)
    assert status == 0 and path.stat().st_size > 500, err


def test_render_of_a_run_goes_to_its_folder(capsys, tiny, tmp_path):
    run(capsys, "generate", "a red mushroom", "--steps", "1", *tiny)
    status, _, err = run(capsys, "render", str(tmp_path / "run"), *SMALL)
    assert status == 0 and (tmp_path / "run" / "render.png").stat().st_size > 500, err


def test_invalid_arguments(capsys, ply, tmp_path):
    message = one_line_fault(capsys, "render", str(ply), "-o", "x.avi")
    assert "expected a name ending in .png, .mp4, .gif, .webp" in message
    assert "--size" in one_line_fault(capsys, "render", str(ply), "--size", "5")


def test_sources_that_cannot_be_read(capsys, ply, tmp_path):
    message = one_line_fault(capsys, "render", str(tmp_path), "-o", str(tmp_path / "x.png"))
    assert "is no folder of a finished run" in message
    truncated, points = tmp_path / "truncated.ply", tmp_path / "points.ply"
    truncated.write_bytes(Path(ply).read_bytes()[:2000])
    points.write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
        "property float z\nend_header\n0 0 0\n"
    )
    for path in (truncated, points, tmp_path / "none.ply"):
        assert path.name in one_line_fault(capsys, "render", str(path))


def test_contact_sheet_that_does_not_fit_into_memory(capsys, tmp_path):
    options = ["--size", "4096", "--views", "100"]
    message = one_line_fault(capsys, "render", str(tmp_path / "x.ply"), *options)
    expected = "at most 200 megapixels, got 1678 (100 views of 4096²); "
    assert expected + "lower --size to 1414 or --views to 11" in message


def test_contact_sheet_above_the_safety_limit_of_pillow(capsys, ply, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    options = ["-o", str(tmp_path / "s.png"), "--size", "32"]
    status, _, err = run(capsys, "render", str(ply), *options)
    assert status == 0 and err == ""


def test_frames_are_rendered_in_chunks(monkeypatch):
    batches, draw = [], files.draw

    def counting_draw(asset, cameras, color):
        batches.append(len(cameras))
        return draw(asset, cameras, color)

    monkeypatch.setattr(files, "draw", counting_draw)
    quats, scales = torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), 0.2)
    one = Splats(torch.zeros(1, 3), quats, scales, torch.ones(1), torch.ones(1, 1, 3))
    cameras = gs3d.ring(5, 32)
    frames = list(files.frames(one, cameras, chunk=2))
    assert batches == [2, 2, 1] and frames[0].shape == (32, 32, 3)
    monkeypatch.setattr(files, "CHUNK_PX", 1)
    np.testing.assert_array_equal(list(files.frames(one, cameras)), frames)
    assert batches[3:] == [1] * 5


def test_failed_preview_still_exports_the_splats(tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(files, "draw", broken)
    cloud = Gaussians.blob(GaussianConfig(count=3), 0, "cpu", DensifyConfig())
    with torch.no_grad():
        cloud.params["means"][1] = float("nan")
    written = files.write_result(tmp_path, cloud)
    files.write_renders(tmp_path, written)
    assert written.files == [tmp_path / "splats.ply"] and len(written.asset) == 2
    assert len(written.warnings) == 3 and "RuntimeError: CUDA error" in written.warnings[1]
