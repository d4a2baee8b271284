"""Looping animations of turntables: .gif and .webp.

Every chat and README shows .gif. A .webp takes a third of its size, in full color.
"""

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
    """Write `frames` as a .gif or .webp animation, depending on the suffix of `path`.

    `frames` is [n, H, W, 3] or any iterable of [H, W, 3], in [0, 1] (sRGB). A GIF has 256 colors
    per frame, and frame times in hundredths of a second. Browsers slow down animations faster than
    50 frames per second.

    Raises:
        UserError: Another suffix, `fps` outside (0, 50], no frames, NaN in a frame, or a file that
            cannot be written.
        ValueError: Frames of different sizes or of a wrong shape.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"cannot write {path}: expected a file name that ends in .gif or .webp. "
            "Change the name."
        )
    if not 0 < fps <= 50:
        raise UserError(f"fps: expected a number from above 0 to 50, got {fps}. 24 is common.")
    images = [
        Image.fromarray(to_bytes(path, frame, f"frame {i}")) for i, frame in enumerate(frames)
    ]
    if not images:
        raise UserError(f"cannot write {path}: expected at least one frame, got 0.")
    if other := next((image.size for image in images if image.size != images[0].size), None):
        raise ValueError(f"frames: expected one size, got {images[0].size} and {other}")
    name, options = FORMATS[path.suffix.lower()]
    if name == "GIF":
        images = [image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG) for image in images]

    def write(temp: Path) -> None:
        with open(temp, "wb") as stream:
            images[0].save(
                stream,
                name,
                save_all=True,
                append_images=images[1:],
                duration=round(1000 / fps),
                loop=0,
                **options,
            )

    def verify(temp: Path) -> None:
        # Both formats merge identical consecutive frames, so the file may hold fewer.
        with Image.open(temp) as back:
            size, count = back.size, getattr(back, "n_frames", 1)
        if size != images[0].size or not 1 <= count <= len(images):
            raise UserError(
                f"cannot write {path}: expected up to {len(images)} frames of {images[0].size} "
                f"pixels, read back {count} of {size}. Try again; if it happens again, check the "
                "disk."
            )

    write_atomic(path, write, verify)
