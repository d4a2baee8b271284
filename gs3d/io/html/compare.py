"""A self-contained .html page that compares runs.

Each further run is laid over the first, with a slider between the two.
"""

import html
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from gs3d.io.html.page import write_page
from gs3d.io.html.slider import SLIDERS, sizes, slider, strip_rule
from gs3d.io.text import encodable


def write_comparison(
    path: str | Path,
    facts: Sequence[Mapping[str, str]],
    names: Sequence[str],
    strips: Sequence[bytes],
    px: int,
) -> None:
    """Write a page that compares n runs.

    Args:
        path: File to write.
        facts: A row of the table for each run. All have the same keys.
        names: A name for each run.
        strips: A `slider.strip` of 8 views for each run.
        px: Side of a view on the page, in pixels.

    Raises:
        UserError: The file cannot be written.
    """
    rows = [list(facts[0]), *(list(one.values()) for one in facts)]
    table_rows = [
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        for tag, row in zip(["th"] + ["td"] * len(facts), rows, strict=True)
    ]
    sliders = [
        (i, slider("r0", f"r{i}", (names[0], names[i]), range(8))) for i in range(1, len(names))
    ]
    parts = {
        "TITLE": html.escape(" · ".join(dict.fromkeys(names))),
        "STYLE": "\n  ".join(
            [sizes(px, 8, 4), *(strip_rule(f"r{i}", strip) for i, strip in enumerate(strips))]
        ),
        "FACTS": "".join(f"<tr>{row}</tr>" for row in table_rows),
        "SLIDERS": "\n".join(
            f"<h2>{html.escape(f'{names[0]} and {names[i]}')}</h2>\n{text}" for i, text in sliders
        )
        + "\n"
        + SLIDERS,
    }
    template = files("gs3d.io.html").joinpath("compare.html").read_text("utf-8")
    text = encodable(re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template))
    write_page(path, text)
