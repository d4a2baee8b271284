"""A page that shows splats: `page.py` with the splats as .spz, with the rounding of that format."""

from pathlib import Path

from gs3d.core.types import Splats
from gs3d.io.html.page import page, write_page
from gs3d.io.splats.spz import encode_spz

SCRIPTS = ("gl.js", "page.js", "spz.js", "shaders.js", "splats.js")


def write_html(path: str | Path, splats: Splats, inside: bool = False) -> None:
    """Write `splats`, in world coordinates, as a page with the stem of `path` as its title.

    `inside` is for a scene: the camera begins at the origin and looks around. Raises `UserError` if
    `splats` are invalid or the file cannot be written.
    """
    path = Path(path)
    write_page(path, page(path.stem, SCRIPTS, encode_spz(path, splats), inside))
