"""gallery.html: the objects of a batch, which can be turned, searched and marked while it works.

The page itself never changes. It reads rows.js, which holds what the index does, and the strip of
views in the folder of each row. So it opens from a disk, without a server.
"""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from gs3d.batch.shown.index import Entry
from gs3d.io.atomic import write_atomic

PAGE, DATA = "gallery.html", "rows.js"


def write_page(folder: Path) -> None:
    """Write the page."""
    page = files("gs3d.batch.shown").joinpath(PAGE).read_bytes()
    write_atomic(folder / PAGE, lambda path: path.write_bytes(page), lambda path: None)


def write_rows(folder: Path, entries: Sequence[Entry], lines: dict[str, str]) -> None:
    """Write what the page shows. `lines` are name -> the row as a line of a .jsonl list, for those
    that are marked to keep."""
    rows = [
        {
            "name": entry.name,
            "number": entry.number,
            "prompt": entry.prompt,
            "seed": entry.seed,
            "state": entry.state,
            "reason": entry.reason,
            "seconds": round(entry.seconds),
            "pieces": entry.pieces,
            "line": lines.get(entry.name, ""),
        }
        for entry in entries
    ]
    text = f"window.rows = {script_json(rows)};\n"
    write_atomic(folder / DATA, lambda path: path.write_text(text, "utf-8"), lambda path: None)


def script_json(value: object) -> str:
    """JSON that may stand in a script: nothing in it ends the script or a line of it."""
    text = json.dumps(value, ensure_ascii=False)
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode("utf-8")
