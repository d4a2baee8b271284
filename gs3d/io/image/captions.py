"""Rows of pictures with words on their left, for sheets that say what they show."""

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def row(words: str, pictures: Sequence[np.ndarray], words_px: int, font_px: int = 13) -> np.ndarray:
    """[H, words_px + n·W, 3] uint8: the lines of `words`, black on white, and then the n `pictures`, [H, W, 3] uint8 of one size."""
    return np.concatenate(
        [written(words, words_px, pictures[0].shape[0], font_px), *pictures], axis=1
    )


def written(words: str, width: int, height: int, font_px: int = 13) -> np.ndarray:
    """[height, width, 3] uint8: the lines of `words`, black on white; what does not fit is cut."""
    label = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(label).multiline_text(
        (6, 6), words, fill="black", font=ImageFont.load_default(font_px), spacing=3
    )
    return np.asarray(label)


def broken(text: str, width: int, lines: int = 2) -> list[str]:
    """At most `lines` lines of `width` letters; what is left out is dots."""
    return textwrap.wrap(text, width, max_lines=lines, placeholder=" …") or [""]
