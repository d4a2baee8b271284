"""One .html with what several runs have made, each after the first over the first with a slider; it needs nothing beside it."""

import html
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.io.html.slider import SLIDERS, sizes, slider, strip_rule


def write_comparison(
    path: str | Path,
    facts: Sequence[Mapping[str, str]],
    names: Sequence[str],
    strips: Sequence[bytes],
    px: int,
) -> None:
    """Write the page of n things: `facts` of each, all with the same keys, their `names`, and a `slider.strip` of 8 views each."""
    path = Path(path)
    rows = [list(facts[0]), *(list(one.values()) for one in facts)]
    cells = [
        "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
        for tag, row in zip(["th"] + ["td"] * len(facts), rows, strict=True)
    ]
    pairs = [
        (i, slider("r0", f"r{i}", (names[0], names[i]), range(8))) for i in range(1, len(names))
    ]
    parts = {
        "TITLE": html.escape(" · ".join(dict.fromkeys(names))),
        "STYLE": "\n  ".join(
            [sizes(px, 8, 4), *(strip_rule(f"r{i}", strip) for i, strip in enumerate(strips))]
        ),
        "FACTS": "".join(f"<tr>{row}</tr>" for row in cells),
        "SLIDERS": "\n".join(
            f"<h2>{html.escape(f'{names[0]} and {names[i]}')}</h2>\n{text}" for i, text in pairs
        )
        + "\n"
        + SLIDERS,
    }
    frame = files("gs3d.io.html").joinpath("compare.html").read_text("utf-8")
    text = re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], frame)

    def verify(temp: Path) -> None:
        if temp.read_text("utf-8") != text:
            raise UserError(
                f"cannot write {path}: the file read back differs. Try again; if it stays so, check the disk."
            )

    write_atomic(path, lambda temp: temp.write_text(text, "utf-8", newline="\n"), verify)
