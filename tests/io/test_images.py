"""Contact sheets, videos and animations can be read back, with the right size and colors."""

import errno
import os

import av
import numpy as np
import pytest
import torch
from PIL import Image

from gs3d.core.errors import UserError
from gs3d.io.image import mp4
from gs3d.io.image.animation import write_animation
from gs3d.io.image.mp4 import write_video
from gs3d.io.image.png import write_sheet

RED = torch.tensor([0.9, 0.2, 0.1])


def test_sheet_is_filled_row_by_row(tmp_path):
    images = torch.linspace(0, 1, 5)[:, None, None, None].expand(5, 4, 6, 3)
    write_sheet(tmp_path / "a.png", images, columns=3)
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    assert sheet.shape == (8, 18, 3) and sheet.dtype == np.uint8
    assert sheet[[0, 0, 0, 4, 7], [0, 6, 12, 0, 11], 0].tolist() == [0, 64, 128, 191, 255]
    assert (sheet[4:, 12:] == 255).all()  # the unused tile


def test_sheet_clamps_values_and_has_no_empty_columns(tmp_path):
    images = np.array([-1.0, 2.0]).reshape(2, 1, 1, 1) * np.ones((1, 2, 2, 3))
    write_sheet(tmp_path / "a.png", images, columns=8)
    sheet = np.asarray(Image.open(tmp_path / "a.png"))
    assert sheet.shape == (2, 4, 3) and sheet[0].tolist() == [[0] * 3] * 2 + [[255] * 3] * 2


def test_sheet_rejects_invalid_input(tmp_path):
    path = tmp_path / "a.png"
    images = torch.zeros(2, 4, 4, 3)
    with pytest.raises(UserError, match="columns: expected 1 or more, got 0"):
        write_sheet(path, images, columns=0)
    with pytest.raises(UserError, match="expected at least one image, got 0"):
        write_sheet(path, images[:0], columns=2)
    with pytest.raises(ValueError, match=r"image 0: expected shape \[H, W, 3\], got \[4, 4\]"):
        write_sheet(path, images[0, :, :, 0].expand(1, 4, 4), columns=2)
    images[1, 0, 0] = float("nan")
    with pytest.raises(UserError, match="image 1 holds NaN in 1 of 16 pixels"):
        write_sheet(path, images, columns=2)
    with pytest.raises(UserError, match="does not exist"):
        write_sheet(tmp_path / "none" / "a.png", images[:1], columns=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "expected"), [((48, 64), (64, 48)), ((33, 47), (48, 34))])
def test_video_can_be_decoded(tmp_path, size, expected):
    frames = RED.expand(7, *size, 3).clone()
    frames[3] = 1 - RED
    write_video(tmp_path / "a.mp4", frames, fps=12)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == expected and stream.average_rate == 12
        decoded = list(container.decode(stream))
    assert len(decoded) == 7 and decoded[0].format.name == "yuv420p"
    for i, color in [(0, RED), (3, 1 - RED)]:
        got = decoded[i].to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
        assert np.abs(got - 255 * color.numpy()).max() < 4


def test_video_can_be_streamed_and_is_h264_if_available(tmp_path):
    write_video(tmp_path / "a.mp4", RED.expand(3, 32, 32, 3), fps=29.97)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == (
            "h264" if "libx264" in av.codecs_available else "mpeg4"
        )


def test_video_from_an_iterable_and_fallback_without_x264(tmp_path, monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    write_video(tmp_path / "a.mp4", (RED.expand(32, 32, 3) for _ in range(4)), fps=10)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        assert sum(1 for _ in container.decode(video=0)) == 4
    monkeypatch.setattr(av, "codecs_available", set())
    with pytest.raises(UserError, match="expected one of libx264, mpeg4"):
        write_video(tmp_path / "a.mp4", RED.expand(1, 32, 32, 3), fps=10)


def test_video_rejects_invalid_input_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    frames = torch.zeros(3, 16, 16, 3)
    with pytest.raises(UserError, match="expected at least one frame, got 0"):
        write_video(path, frames[:0], fps=10)
    with pytest.raises(UserError, match="fps: expected a number from above 0 to 1000, got 0"):
        write_video(path, frames, fps=0)
    broken = frames.clone()
    broken[2, 1] = float("nan")
    with pytest.raises(UserError, match="frame 2 holds NaN in 16 of 256 pixels"):
        write_video(path, broken, fps=10)
    with pytest.raises(ValueError, match="frame 1: expected the size of the first"):
        write_video(path, [frames[0], torch.zeros(8, 8, 3)], fps=10)

    def disk_full(*args, **kwargs):
        raise av.error.FFmpegError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(mp4.av, "open", disk_full)
    with pytest.raises(UserError, match="a.mp4: the disk is full"):
        write_video(path, frames, fps=10)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(("name", "tolerance"), [("a.gif", 12), ("a.webp", 16)])
def test_animations_can_be_read_and_loop(tmp_path, name, tolerance):
    frames = torch.stack([RED.lerp(1 - RED, i / 4).expand(20, 30, 3) for i in range(5)])
    write_animation(tmp_path / name, frames, fps=10)
    with Image.open(tmp_path / name) as back:
        assert back.size == (30, 20) and back.n_frames == 5 and back.info["loop"] == 0
        for i in range(5):
            back.seek(i)
            back.load()
            assert back.info["duration"] == 100
            got = np.asarray(back.convert("RGB")).mean((0, 1))
            assert np.abs(got - 255 * frames[i, 0, 0].numpy()).max() < tolerance


def test_animations_reject_invalid_input(tmp_path):
    with pytest.raises(UserError, match="ends in .gif or .webp"):
        write_animation(tmp_path / "a.mp4", RED.expand(2, 4, 4, 3), fps=10)
    with pytest.raises(UserError, match="fps: expected a number from above 0 to 50, got 60"):
        write_animation(tmp_path / "a.gif", RED.expand(2, 4, 4, 3), fps=60)
    with pytest.raises(UserError, match="expected at least one frame, got 0"):
        write_animation(tmp_path / "a.gif", [], fps=10)
    with pytest.raises(UserError, match="frame 1 holds NaN"):
        frames = torch.stack([RED.expand(4, 4, 3), torch.full((4, 4, 3), torch.nan)])
        write_animation(tmp_path / "a.webp", frames, fps=10)
    assert not list(tmp_path.iterdir())
