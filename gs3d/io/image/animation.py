"""Turntables as moving pictures that go on for ever: .gif, which every chat and README shows, and .webp, a third of it in full color."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.io.image.pixels import to_bytes

FORMATS = {
    ".gif": ("GIF", {"disposal": 1, "optimize": False}),
    ".webp": ("WEBP", {"quality": 90, "method": 4}),
}


def write_animation(
    path: str | Path, frames: Tensor | np.ndarray | Iterable[Tensor | np.ndarray], fps: float
) -> None:
    """Write `frames`, [n, H, W, 3] or any iterable of [H, W, 3], in [0, 1] (sRGB), as the suffix of `path` says: .gif or .webp.

    A GIF has 256 colors a frame, and hundredths of a second: browsers slow down what is faster than 50 frames a second.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"cannot write {path}: expected a file name that ends in .gif or .webp. Change the name."
        )
    if not 0 < fps <= 50:
        raise UserError(f"fps: expected a number from above 0 to 50, got {fps}. 24 is common.")
    pictures = [
        Image.fromarray(to_bytes(path, frame, f"frame {i}")) for i, frame in enumerate(frames)
    ]
    if not pictures:
        raise UserError(f"cannot write {path}: expected at least one frame, got 0.")
    if other := next((p.size for p in pictures if p.size != pictures[0].size), None):
        raise ValueError(f"frames: expected one size, got {pictures[0].size} and {other}")
    name, options = FORMATS[path.suffix.lower()]
    if name == "GIF":
        pictures = [p.quantize(256, dither=Image.Dither.FLOYDSTEINBERG) for p in pictures]

    def write(temp: Path) -> None:
        with open(temp, "wb") as stream:
            pictures[0].save(
                stream,
                name,
                save_all=True,
                append_images=pictures[1:],
                duration=round(1000 / fps),
                loop=0,
                **options,
            )

    def verify(temp: Path) -> None:
        # Both formats put frames that do not differ together, so there may be fewer.
        with Image.open(temp) as back:
            size, count = back.size, getattr(back, "n_frames", 1)
        if size != pictures[0].size or not 1 <= count <= len(pictures):
            what = f"expected up to {len(pictures)} frames of {pictures[0].size} pixels, read back {count} of {size}"
            raise UserError(
                f"cannot write {path}: {what}. Try again; if it stays so, check the disk."
            )

    write_atomic(path, write, verify)
