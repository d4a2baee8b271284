"""A self-contained .html page that shows splats in any browser, from disk and without a network.

It holds the page, its WebGL viewer, and the splats as .spz, with the rounding of that format. Such
pages are written only, never read. The viewer is our own (viewer.html and three .js files, some
20 kB), because viewer libraries load from other servers or weigh megabytes.
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
from gs3d.io.text import encodable

SCRIPTS = ("spz.js", "shaders.js", "viewer.js")
"""Parts of one script, in this order: the later ones use the earlier ones."""


def page(title: str, spz: bytes) -> str:
    """HTML of a page that shows the splats of an .spz file."""
    folder = files("gs3d.io.html")
    template = folder.joinpath("viewer.html").read_text("utf-8")
    script = "\n".join(folder.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    parts = {
        "TITLE": html.escape(encodable(title)),
        "SCRIPT": script,
        "SPLATS": base64.b64encode(spz).decode(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def write_html(path: str | Path, splats: Splats) -> None:
    """Write `splats`, in world coordinates, as a page with the stem of `path` as its title.

    Raises `UserError` if `splats` are invalid or the file cannot be written.
    """
    path = Path(path)
    text = page(path.stem, encode_spz(path, splats))

    def verify(temp: Path) -> None:
        if temp.read_text("utf-8") != text:
            raise refusal(
                path,
                "the file read back differs from what was written",
                "Try again; if it happens again, check the disk.",
            )

    write_atomic(path, lambda temp: temp.write_text(text, "utf-8", newline="\n"), verify)
