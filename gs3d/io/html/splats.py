"""One .html that shows splats in any browser, from disk and without a network: the page, its WebGL viewer, and the splats as an .spz.

Writer only. The viewer is ours (viewer.html, viewer.js), some 20 kB: those that are libraries load from elsewhere or weigh megabytes.
What .spz rounds is rounded here.
"""

import base64
import html
import re
from importlib.resources import files
from pathlib import Path

from gs3d.core.types import Splats
from gs3d.io.atomic import write_atomic
from gs3d.io.splats.checks import refusal
from gs3d.io.splats.spz import encode_spz


def page(title: str, spz: bytes) -> str:
    """The text of the page."""
    frame, script = (
        files("gs3d.io.html").joinpath(name).read_text("utf-8")
        for name in ("viewer.html", "viewer.js")
    )
    parts = {
        "TITLE": html.escape(title),
        "SCRIPT": script,
        "SPLATS": base64.b64encode(spz).decode(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], frame)


def write_html(path: str | Path, splats: Splats) -> None:
    """Write `splats` (world frame) as a page of their own, which the name of `path` gives its title."""
    path = Path(path)
    text = page(path.stem, encode_spz(path, splats))

    def verify(temp: Path) -> None:
        if temp.read_text("utf-8") != text:
            raise refusal(
                path,
                "the file read back differs from what was written",
                "Try again; if it stays so, check the disk.",
            )

    write_atomic(path, lambda temp: temp.write_text(text, "utf-8", newline="\n"), verify)
