"""HTML sliders that compare two objects, each view of one laid over the same view of the other.

A page embeds each strip of views once, as a CSS rule that other elements may use too. It holds one
`sizes` rule, and SLIDERS once, after all sliders.
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
    """Encode n `views`, uint8 [H, W, 3], side by side as one WebP image."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.concatenate(list(views), axis=1)).save(
        stream, format="WEBP", quality=quality
    )
    return stream.getvalue()


def strip_rule(name: str, image: bytes) -> str:
    """CSS rule that makes `image`, a `strip`, the background of elements of the class `name`."""
    data = base64.b64encode(image).decode()
    return f".{name}{{background-image:url(data:image/webp;base64,{data})}}"


def sizes(px: int, views: int, columns: int) -> str:
    """CSS rule with the layout of strips: `views` views of `px` pixels, shown in `columns` columns.

    Fewer columns are shown if the page is too narrow.
    """
    return f"body{{--px:{px}px;--of:{views};--across:{columns}}}"


def slider(one: str, other: str, names: tuple[str, str], views: Sequence[int]) -> str:
    """HTML of a slider between two strips, which are the CSS classes `one` and `other`.

    Shows the given `views` (indices into the strips), and the slider below, between the `names`.
    """

    def layer(name: str) -> str:
        spans = "".join(
            f'<span class="{name}" style="background-position-x:calc(var(--px) * {-view})"></span>'
            for view in views
        )
        return f'<div class="views">{spans}</div>'

    left, right = (html.escape(text) for text in names)
    # Dragging to the right shows more of the strip named on the left.
    control = (
        f'<label><span>{left}</span><input type="range" min="0" max="100" value="50">'
        f"<span>{right}</span></label>"
    )
    pair = (
        f'<div class="pair" role="img" aria-label="{left} and {right}">'
        f"{layer(one)}{layer(other)}</div>"
    )
    data_names = "&#10;".join(html.escape(" ".join(text.split())) for text in names)
    return f'<div class="slider" data-names="{data_names}">{pair}{control}</div>'
