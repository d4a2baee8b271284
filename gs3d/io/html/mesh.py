"""A page that shows a mesh: `page.py` with the mesh as .glb."""

import gzip
from pathlib import Path

from gs3d.io.html.page import page, write_page

SCRIPTS = ("gl.js", "page.js", "mesh.js")


def write_html(path: str | Path, glb: bytes) -> None:
    """Write a page with the stem of `path` as its title, which shows the first mesh of a .glb.

    `glb` is what `gs3d.io.mesh.write_mesh` writes. `UserError` if the page cannot be written.
    """
    path = Path(path)
    write_page(path, page(path.stem, SCRIPTS, gzip.compress(glb, mtime=0)))
