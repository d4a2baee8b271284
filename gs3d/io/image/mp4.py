"""Turntable videos: H.264 in MP4, yuv420p, which browsers and phones play."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.io.image.pixels import to_bytes

_ENCODERS = {
    "libx264": {"crf": "18", "preset": "veryfast"},
    "mpeg4": {"qscale": "2", "flags": "+qscale"},
}
"""In order of preference. FFmpeg builds without GPL parts lack libx264. All builds have MPEG-4
Part 2, but few browsers play it."""
_BT709, _SRGB_CURVE, _LIMITED = 1, 13, 1
"""FFmpeg's codes of the color matrix and primaries, the transfer curve, and the value range."""


def _encoder() -> str:
    available = [name for name in _ENCODERS if name in av.codecs_available]
    if not available:
        raise UserError(
            f"cannot write video: expected one of {', '.join(_ENCODERS)} in PyAV, got none. "
            "Install the `av` wheel from PyPI."
        )
    return available[0]


def _pad_to_even(image: np.ndarray) -> np.ndarray:
    """Repeat the last row or column of an odd size: yuv420p stores one color per 2×2 pixels."""
    height, width, _ = image.shape
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def write_video(
    path: str | Path, frames: Tensor | np.ndarray | Iterable[Tensor | np.ndarray], fps: float
) -> None:
    """Write `frames`, [n, H, W, 3] or any iterable of [H, W, 3], in [0, 1] (sRGB), as an MP4.

    Odd sizes grow by one pixel. An iterable is encoded frame by frame, so a long video need not fit
    in memory. The index is at the start of the file, so a browser can play it while it loads.

    Raises:
        UserError: `fps` outside (0, 1000], no frames, NaN in a frame, no encoder, or a file that
            cannot be written.
        ValueError: Frames of different sizes or of a wrong shape.
    """
    path = Path(path)
    if not 0 < fps <= 1000:
        raise UserError(f"fps: expected a number from above 0 to 1000, got {fps}. 30 is common.")
    images = (_pad_to_even(to_bytes(path, frame, f"frame {i}")) for i, frame in enumerate(frames))
    first = next(images, None)
    if first is None:
        raise UserError(f"cannot write {path}: expected at least one frame, got 0.")
    height, width, _ = first.shape
    count = 0

    def write(temp: Path) -> None:
        nonlocal count
        name = _encoder()
        with av.open(str(temp), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream(
                name, rate=Fraction(fps).limit_denominator(1001), options=_ENCODERS[name]
            )
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            context = stream.codec_context
            # Without these tags players guess the matrix from the height, and colors shift.
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = (
                _BT709,
                _BT709,
                _SRGB_CURVE,
                _LIMITED,
            )
            for image in chain([first], images):
                if image.shape != first.shape:
                    raise ValueError(
                        f"frame {count}: expected the size of the first, {first.shape}, "
                        f"got {image.shape}"
                    )
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
                frame = frame.reformat(
                    format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED
                )
                container.mux(stream.encode(frame))
                count += 1
            container.mux(stream.encode())

    def verify(temp: Path) -> None:
        with av.open(str(temp), format="mp4") as container:
            stream = container.streams.video[0]
            size = stream.width, stream.height
            got = sum(1 for _ in container.decode(stream))
        if (got, size) != (count, (width, height)):
            raise UserError(
                f"cannot write {path}: expected {count} frames of {width}×{height} px, read back "
                f"{got} of {size[0]}×{size[1]} px. Try again; if it happens again, check the disk."
            )

    def as_os_error(step):
        def run(temp: Path) -> None:
            try:
                step(temp)
            except FFmpegError as error:
                # Some FFmpeg errors are not OSErrors in Python. `write_atomic` handles OSErrors.
                raise OSError(error.errno, error.strerror) from error

        return run

    write_atomic(path, as_os_error(write), as_os_error(verify))
