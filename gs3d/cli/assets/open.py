"""`gs3d open FILE_OR_RUN`: the result in a browser, without a server where it can be."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gs3d.cli.assets.view import open_browser
from gs3d.cli.assets.view import run as view
from gs3d.cli.output import say
from gs3d.cli.parse import parse
from gs3d.cli.paths import warn, with_warnings
from gs3d.core.types import Splats
from gs3d.io import load_asset, save_splats


@dataclass(frozen=True)
class Args:
    """Show splats in the browser as one page, which is written beside them and opens from disk. A
    mesh is shown as by gs3d view."""

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_RUN")]
    """A run's folder, a splat file, or a mesh (.glb)."""
    browser: bool = True
    """Open a browser; else the page is written and its path printed."""


def run(argv: list[str]) -> int:
    args = parse(Args, "gs3d open", argv)
    asset, warnings = with_warnings(load_asset, args.file)
    if not isinstance(asset, Splats):
        return view([str(args.file), *([] if args.browser else ["--no-browser"])])
    warn(warnings)
    page = page_of(args.file)
    save_splats(page, asset)
    say(f"{len(asset)} splats in {page}")
    if args.browser:
        open_browser(page.resolve().as_uri())
    return 0


def page_of(source: Path) -> Path:
    """Where the page goes: into a run's folder, or beside a file, as a.ply.html."""
    return source / "splats.html" if os.path.isdir(source) else Path(f"{source}.html")
