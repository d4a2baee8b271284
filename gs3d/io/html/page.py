"""A self-contained .html page that shows one object, from disk and without a network.

It holds the page, its WebGL viewer and the object, as a file packed with gzip. Such pages are
written only, never read. The viewer is our own (viewer.html and .js files, some 20 kB), because
viewer libraries load from other servers or weigh megabytes.
"""

import base64
import html
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from gs3d.core.errors import UserError
from gs3d.io.atomic import write_atomic
from gs3d.io.text import encodable


def page(title: str, scripts: Sequence[str], packed: bytes, inside: bool = False) -> str:
    """HTML of a page that shows an object, or a scene from inside.

    Args:
        title: Its name.
        scripts: Parts of one script, files of this folder; the later ones use the earlier ones.
        packed: The file that they draw, packed with gzip.
        inside: Whether the camera is at the origin and looks around, instead of around the object.
    """
    folder = files("gs3d.io.html")
    template = folder.joinpath("viewer.html").read_text("utf-8")
    parts = {
        "TITLE": html.escape(encodable(title)),
        "SCRIPT": "\n".join(folder.joinpath(name).read_text("utf-8") for name in scripts),
        "FROM": "inside" if inside else "outside",
        "WHAT": "a place. Arrow keys look around" if inside else "a 3D object. Arrow keys turn it",
        "ASSET": base64.b64encode(packed).decode(),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def write_page(path: str | Path, text: str) -> None:
    """Write the text of a page, and read it back. `UserError` if that fails."""
    path = Path(path)

    def verify(temp: Path) -> None:
        if temp.read_text("utf-8") != text:
            raise UserError(
                f"cannot write {path}: the file read back differs from what was written. "
                "Try again; if it happens again, check the disk."
            )

    write_atomic(path, lambda temp: temp.write_text(text, "utf-8", newline="\n"), verify)
