"""Rows of pictures with words on their left, for sheets that say what they show."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def row(words: str, pictures: Sequence[np.ndarray], words_px: int, font_px: int = 13) -> np.ndarray:
    """[H, words_px + n·W, 3] uint8: the lines of `words`, black on white, and then the n `pictures`, [H, W, 3] uint8 of one size."""
    label = Image.new("RGB", (words_px, pictures[0].shape[0]), "white")
    pen = ImageDraw.Draw(label)
    pen.multiline_text((6, 6), words, fill="black", font=ImageFont.load_default(font_px), spacing=3)
    return np.concatenate([np.asarray(label), *pictures], axis=1)


def broken(text: str, width: int, lines: int = 2) -> list[str]:
    """At most `lines` lines of `width` letters; what is left out is dots."""
    return textwrap.wrap(text, width, max_lines=lines, placeholder=" …") or [""]
