"""`gs3d open FILE_OR_RUN`: the result in a browser, without a server."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gs3d.api import Scene
from gs3d.cli.assets.view import line_about, open_browser
from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import warn, with_warnings
from gs3d.core.types import Splats
from gs3d.io import load_asset
from gs3d.io.html.splats import write_html
from gs3d.runs.history import is_scene

if TYPE_CHECKING:
    from gs3d.representations.asset import Asset


PAGES = ("gallery.html", "report.html")
"""Pages in the folders of batches and evaluations."""


@dataclass(frozen=True)
class Args:
    """Show splats or a mesh in the browser as one page, which is written beside them and opens from
    disk, without a network. A run of --mode scene is shown from inside."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_RUN")]
    """A run's folder, a splat file, or a mesh (.glb); or an .html page, or the folder of a batch or
    an evaluation, whose page is then shown."""
    browser: bool = True
    """Open a browser; else the page is written and its path printed."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d open", argv)
    if (page := _page_in(args.file)) is not None:
        say(str(page))
        if args.browser:
            open_browser(page.resolve().as_uri())
        return 0
    asset, warnings = with_warnings(load_asset, args.file)
    warn(warnings)
    page = page_of(args.file, asset)
    if isinstance(asset, Splats) and os.path.isdir(args.file) and is_scene(args.file):
        write_html(page, asset, inside=True)
    else:
        Scene(asset).save(page)
    say(f"{line_about(asset)} in {page}")
    if args.browser:
        open_browser(page.resolve().as_uri())
    return 0


def _page_in(source: Path) -> Path | None:
    """A page that is there already: the file itself, or that of a batch or an evaluation."""
    if source.suffix.lower() == ".html":
        return source if source.is_file() else None
    pages = (source / name for name in PAGES)
    return next((page for page in pages if os.path.isfile(page)), None)


def page_of(source: Path, asset: "Asset") -> Path:
    """Where the page goes: into a run's folder, or beside a file, as a.ply.html."""
    if os.path.isdir(source):
        return source / f"{'splats' if isinstance(asset, Splats) else 'mesh'}.html"
    return Path(f"{source}.html")
