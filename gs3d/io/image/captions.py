"""Rows of images with a caption on the left, for preview strips and comparisons."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gs3d.io.text import encodable


def row(text: str, images: Sequence[np.ndarray], text_px: int, font_px: int = 13) -> np.ndarray:
    """Draw `text`, `text_px` pixels wide, to the left of n `images`.

    `images` are uint8 [H, W, 3], all of one size. Returns uint8 [H, text_px + n·W, 3].
    """
    return np.concatenate([written(text, text_px, images[0].shape[0], font_px), *images], axis=1)


def written(text: str, width: int, height: int, font_px: int = 13) -> np.ndarray:
    """Draw `text` in black on white, uint8 [height, width, 3]. Text that does not fit is cut."""
    label = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(label).multiline_text(
        (6, 6), encodable(text), fill="black", font=ImageFont.load_default(font_px), spacing=3
    )
    return np.asarray(label)


def broken(text: str, width: int, lines: int = 2) -> list[str]:
    """Wrap `text` to at most `lines` lines of `width` characters, ending in … if it is cut."""
    return textwrap.wrap(text, width, max_lines=lines, placeholder=" …") or [""]
