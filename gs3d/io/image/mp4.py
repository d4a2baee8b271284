"""Turntable videos: H.264 in MP4, yuv420p, as browsers and phones play it."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.io.image.pixels import to_bytes

_ENCODERS = {
    "libx264": {"crf": "18", "preset": "medium"},
    "mpeg4": {"qscale": "2", "flags": "+qscale"},
}
"""In order of choice. Builds of FFmpeg without GPL parts lack libx264; MPEG-4 Part 2 is in all of them, but few browsers play it."""
_BT709, _SRGB_CURVE, _LIMITED = 1, 13, 1


def _encoder() -> str:
    known = [name for name in _ENCODERS if name in av.codecs_available]
    if not known:
        raise UserError(
            f"cannot write video: expected one of {', '.join(_ENCODERS)} in PyAV, got none. Install the `av` wheel from PyPI."
        )
    return known[0]


def _even(picture: np.ndarray) -> np.ndarray:
    """The last row and column repeated where the size is odd: yuv420p has one color for each 2×2 pixels."""
    height, width, _ = picture.shape
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def write_video(
    path: str | Path, frames: Tensor | np.ndarray | Iterable[Tensor | np.ndarray], fps: float
) -> None:
    """Write `frames`, [n, H, W, 3] or any iterable of [H, W, 3], in [0, 1] (sRGB). Odd sizes grow by one pixel.

    An iterable is encoded as it comes, so a long video need not be held in memory. The file starts with its index, so that a browser
    plays it while it loads.
    """
    path = Path(path)
    if not 0 < fps <= 1000:
        raise UserError(f"fps: expected a number from above 0 to 1000, got {fps}. 30 is common.")
    pictures = (_even(to_bytes(path, frame, f"frame {i}")) for i, frame in enumerate(frames))
    first = next(pictures, None)
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
            for picture in chain([first], pictures):
                if picture.shape != first.shape:
                    raise ValueError(
                        f"frame {count}: expected the size of the first, {first.shape}, got {picture.shape}"
                    )
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
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
            what = f"expected {count} frames of {width}×{height} px, read back {got} of {size[0]}×{size[1]} px"
            raise UserError(
                f"cannot write {path}: {what}. Try again; if it stays so, check the disk."
            )

    def guarded(step):
        def run(temp: Path) -> None:
            try:
                step(temp)
            except av.FFmpegError as error:
                # Some of FFmpeg's errors are not OSErrors in Python; this gives them one way out.
                raise OSError(error.errno, error.strerror) from error

        return run

    write_atomic(path, guarded(write), guarded(verify))
