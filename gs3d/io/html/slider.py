"""A slider between two objects, each view of one over the same view of the other, for pages of ours.

A page holds each picture once, in a rule of style that others may use too, and SLIDERS once, after all sliders; it says with
`sizes` how large the views are.
"""

import base64
import html
import io
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

SLIDERS = files("gs3d.io.html").joinpath("slider.html").read_text("utf-8")
"""Style and script of all sliders of a page."""


def strip(views: Sequence[np.ndarray], quality: int = 85) -> bytes:
    """The n `views`, [H, W, 3] uint8, side by side as a WebP."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.concatenate(list(views), axis=1)).save(
        stream, format="WEBP", quality=quality
    )
    return stream.getvalue()


def strip_rule(name: str, picture: bytes) -> str:
    """The rule of style that puts a `strip` behind whatever has the class `name`."""
    return f".{name}{{background-image:url(data:image/webp;base64,{base64.b64encode(picture).decode()})}}"


def sizes(px: int, of: int, across: int) -> str:
    """The rule of style that says that strips have `of` views, shown `px` pixels wide, at most `across` of them side by side."""
    return f"body{{--px:{px}px;--of:{of};--across:{across}}}"


def slider(one: str, other: str, names: tuple[str, str], views: Sequence[int]) -> str:
    """HTML: the `views` of two strips, which are the classes `one` and `other`, and beneath them the slider, between their names."""

    def layer(name: str) -> str:
        spans = "".join(
            f'<span class="{name}" style="background-position-x:calc(var(--px) * {-view})"></span>'
            for view in views
        )
        return f'<div class="views">{spans}</div>'

    left, right = (html.escape(text) for text in names)
    # What is dragged to the right uncovers the one that is named on the left.
    line = f'<label><span>{left}</span><input type="range" min="0" max="100" value="50"><span>{right}</span></label>'
    pair = f'<div class="pair" role="img" aria-label="{left} and {right}">{layer(one)}{layer(other)}</div>'
    said = "&#10;".join(html.escape(" ".join(text.split())) for text in names)
    return f'<div class="slider" data-names="{said}">{pair}{line}</div>'
